"""Drawing with a trained generator: sample, mix, morph, sweep, film, project, edit, augment.

figment sample runs/00000-heads -o out --seeds 0-63
figment morph runs/00000-heads -o morph.mp4 --seeds 0-5
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from figment.base.errors import FigmentError
from figment.base.parse import parse_seeds
from figment.base.progress import say
from figment.cli.app import Cutoff, Device, Model, Out, Psi, app, example
from figment.cli.settings import Command, add_options, option

if TYPE_CHECKING:
    from figment.draw.blend import Blend

Seeds = Annotated[str | None, typer.Option(help="Seeds and ranges of seeds, e.g. 0-63 or 1,5,9-12.")]
Seconds = Annotated[float, typer.Option(help="Length of the video in seconds.")]
Fps = Annotated[int, typer.Option(help="Frames per second.")]


# Options that several commands share -----------------------------------------------------------------------------

Models = Annotated[
    list[Path] | None, typer.Option("--blend", help="A model whose weights some layers take; repeat it for more.")
]
Layers = Annotated[
    list[str] | None,
    typer.Option(help="The layers that --blend gives: a band such as fine, or a range such as 8-17; once per --blend."),
]
Amount = Annotated[float, typer.Option(help="How far to move towards --blend's weights: 0 not at all, 1 all the way.")]


def parse_blends(options: dict[str, Any]) -> dict[str, tuple[Blend, ...]]:
    """Return the values of --blend, --blend-layers and --blend-amount as the argument `blends`."""
    from figment.draw.blend import Blend

    models, layers = options["blend"] or [], options["blend_layers"] or []
    if len(layers) not in (0, len(models)):
        raise FigmentError(
            f"--blend-layers is given {len(layers)} times, --blend {len(models)} times: "
            f"give it once per --blend, or not at all"
        )
    pairs = zip(models, layers or ["fine"] * len(models), strict=True)
    return {"blends": tuple(Blend(model, band, options["blend_amount"]) for model, band in pairs)}


with_blends = add_options(
    [option("blend", Models), option("blend_layers", Layers), option("blend_amount", Amount, 1.0)], parse_blends
)
with_truncation = add_options([option("psi", Psi, 0.7), option("cutoff", Cutoff)])


def with_video(sec: float) -> Callable[[Command], Command]:
    """Return a decorator that adds the length of a video, `sec` seconds by default, and its frame rate."""
    return add_options([option("seconds", Seconds, sec), option("fps", Fps, 30)])


# Commands --------------------------------------------------------------------------------------------------------


@app.command(
    epilog=example(
        "sample runs/00000-heads -o out --seeds 0-63 --grid 8x8 --psi 0.7",
        "sample net.pkl -o out --latents hero.npz",
        "sample faces.safetensors -o out --blend heroes.safetensors --blend-layers 8-17",
    )
)
@with_blends
@with_truncation
def sample(
    model: Model,
    output: Out,
    seeds: Seeds = None,
    latents: Annotated[Path | None, typer.Option(help="A .npz or .json of z or w, instead of seeds.")] = None,
    grid: Annotated[str | None, typer.Option(help="Columns x rows of grid.png, e.g. 8x8. Unset: fits all.")] = None,
    noise: Annotated[str, typer.Option(help="Per-pixel noise: const, random (by seed) or none.")] = "const",
    noise_strength: Annotated[
        str | None, typer.Option(help="Factor of the noise, for all layers or by layer: 0-3:0,fine:2.")
    ] = None,
    **shared: Any,
) -> None:
    """Draw characters from seeds (0-63 by default) or from a file, one PNG each, and all of them as a grid."""
    from figment.draw.grid import grid_shape
    from figment.draw.sample import sample as run_sample

    run_sample(
        model,
        output,
        seeds=parse_seeds(seeds) if seeds else None,
        latents=latents,
        grid=grid_shape(grid, "--grid") if grid else None,
        noise=noise,
        noise_strength=noise_strength,
        **shared,
    )
    say(f"{output}: grid.png")


@app.command(
    epilog=example(
        "mix runs/00000-heads -o mix.png --rows 0-3 --columns 10-15",
        "mix runs/00000-heads -o mix.png --rows hero.npz --columns 10-15 --layers middle",
    )
)
@with_blends
@with_truncation
def mix(
    model: Model,
    output: Out,
    rows: Annotated[str, typer.Option(help="Seeds, or a .npz or .json: characters that give the identity.")] = "0-3",
    columns: Annotated[str, typer.Option(help="Seeds, or a file: characters whose styles are mixed in.")] = "10-15",
    layers: Annotated[
        str | None,
        typer.Option(help="Layers taken from the column: a band such as coarse, or 4-9. Unset: a table per band."),
    ] = None,
    **shared: Any,
) -> None:
    """Draw a table of style mixes: a row per source of identity, a column per source of styles."""
    from figment.draw.mix import mix as run_mix

    run_mix(model, output, rows=rows, columns=columns, layers=layers, **shared)
    say(str(output))


@app.command(
    epilog=example(
        "morph runs/00000-heads -o morph.mp4 --seeds 0-5 --seconds 10 --fps 60",
        "morph runs/00000-heads -o morph.gif --path circle --seeds 3,8",
        "morph runs/00000-heads -o morph.webp --keys keys.json",
    )
)
@with_blends
@with_truncation
@with_video(sec=10.0)
def morph(
    model: Model,
    output: Out,
    seeds: Seeds = None,
    keys: Annotated[
        str | None,
        typer.Option(
            help='Instead of seeds: "3,17,40", a .npz of latents, or a .json list of '
            '{"seed", "z", "w" or "file", "time"}.'
        ),
    ] = None,
    path: Annotated[str, typer.Option(help="spline or linear (in w), spherical or circle (in z).")] = "spline",
    size: Annotated[
        int | None, typer.Option(help="Side of the video in pixels. Unset: the model's, at least 384.")
    ] = None,
    even: Annotated[bool, typer.Option(help="Keep the speed of visible change even.")] = True,
    **shared: Any,
) -> None:
    """Make a closed loop through characters as MP4, GIF or WebP."""
    from figment.draw.morph import morph as run_morph

    pace = run_morph(
        model,
        output,
        seeds=parse_seeds(seeds) if seeds else None,
        keys=keys,
        path=path,
        size=size,
        even=even,
        **shared,
    )
    say(f"{output}: the largest step is {pace.after:.2f} times the mean, {pace.before:.2f} uncorrected")


@app.command(
    epilog=example(
        "sweep runs/00000-heads -o sweep.png --seeds 0-5 --steps 9",
        "sweep runs/00000-heads -o sweep.mp4 --seeds 0-3 --seconds 6",
    )
)
@with_blends
@with_video(sec=6.0)
def sweep(
    model: Model,
    output: Out,
    seeds: Annotated[str, typer.Option(help="Seeds, or a .npz or .json of latents.")] = "0-3",
    start: Annotated[float, typer.Option(help="First truncation psi.")] = -1.0,
    stop: Annotated[float, typer.Option(help="Last truncation psi.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Number of columns of the picture.")] = 9,
    cutoff: Cutoff = None,
    **shared: Any,
) -> None:
    """Draw characters at truncations from one side of the mean to the other, as a picture or a video."""
    from figment.draw.sweep import sweep as run_sweep

    run_sweep(model, output, seeds=seeds, start=start, stop=stop, steps=steps, cutoff=cutoff, **shared)
    say(str(output))


@app.command(epilog=example("film runs/00000-heads -o film.mp4"))
def film(run: Annotated[Path, typer.Argument(help="A run's folder.")], output: Out) -> None:
    """Turn a run's grids of fakes into a video of the training."""
    from figment.draw.film import film as run_film

    run_film(run, output)
    say(str(output))


@app.command(
    epilog=example(
        "project runs/00000-heads portrait.png -o out", "project runs/00000-heads portraits/ -o out --space w+ --tune"
    )
)
def project(
    model: Model,
    pictures: Annotated[Path, typer.Argument(help="A picture, or a folder of pictures.")],
    output: Out,
    space: Annotated[
        str, typer.Option(help="w: one latent for all layers. w+: one per layer, closer but harder to edit.")
    ] = "w",
    steps: Annotated[int, typer.Option(help="Optimization steps.")] = 200,
    crop: Annotated[bool, typer.Option("--crop/--no-crop", help="Crop the head first.")] = True,
    tune: Annotated[bool, typer.Option("--tune", help="Fine-tune the generator too; saves NAME.safetensors.")] = False,
    film: Annotated[bool, typer.Option("--film", help="Save the optimization as NAME.mp4.")] = False,
    seed: Annotated[int, typer.Option(help="Random seed of the starting points.")] = 0,
    device: Device = None,
) -> None:
    """Find the character that looks most like a picture. Saves its PNG and latent, and prints the distance."""
    from figment.draw.project import project as run_project

    for name, distance in run_project(
        model, pictures, output, space=space, steps=steps, crop=crop, tune=tune, film=film, seed=seed, device=device
    ):
        say(f"{output / name}.png: distance {distance:.4f}")


@app.command(
    epilog=example(
        "edit runs/00000-heads --find sefa -o sheet.png",
        "edit runs/00000-heads --name 3=hair-length",
        "edit runs/00000-heads --apply hair-length=2 --seeds 0-7 -o out",
    )
)
def edit(
    model: Model,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PNG for a sheet, or a folder for edits.")
    ] = None,
    find: Annotated[str | None, typer.Option(help="Draw the directions found by sefa or pca.")] = None,
    count: Annotated[int, typer.Option(help="Number of directions to find.")] = 8,
    name: Annotated[list[str] | None, typer.Option(help="Save a direction: NUMBER=NAME; repeat it for more.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Fit directions to JSON: {property: {seed: value}}.")] = None,
    apply: Annotated[str | None, typer.Option(help="Draw edits: NAME=AMOUNT,...")] = None,
    layers: Annotated[str | None, typer.Option(help="Only these layers: a band such as coarse, or 4-9.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds and ranges of seeds, e.g. 0-63 or 1,5,9-12.")] = "0",
    psi: Psi = 0.7,
) -> None:
    """Find, name, fit and apply directions in latent space, each of which changes one property of a character."""
    from figment.draw import edit as stage

    chosen = parse_seeds(seeds)
    if name:
        for direction in stage.name_directions(model, name, method=find or "sefa", layers=layers):
            say(f"{direction.name}: saved with {model}")
    elif labels:
        for direction in stage.fit(model, labels, layers=layers):
            say(f"{direction.name}: fitted, saved with {model}")
    elif output is None:
        raise FigmentError("--output: give a file for the sheet or a folder for the edits")
    elif apply:
        stage.edit(model, output, apply=apply, seeds=chosen, layers=layers, psi=psi)
        say(f"{output}: grid.png, each character before and after")
    else:
        stage.find(model, output, method=find or "sefa", count=count, seeds=chosen, psi=psi)
        say(f"{output}: a row per direction, from -4 to 4 standard deviations")


@app.command(
    epilog=example(
        "augment runs/00000-heads -o more --images 1000 --data heads-64.zip",
        "augment runs/00000-heads -o one --images 200 --hold 17 --vary fine",
    )
)
def augment(
    model: Model,
    output: Out,
    images: Annotated[int, typer.Option(help="Number of images to draw, before near-copies are left out.")] = 1000,
    data: Annotated[
        Path | None, typer.Option(help="Training images (zip or folder), to leave out copies of them.")
    ] = None,
    hold: Annotated[int | None, typer.Option(help="Seed of the character that gives what --vary leaves.")] = None,
    vary: Annotated[
        str | None, typer.Option(help="Bands that each image's own seed decides, such as coarse,fine. Unset: all.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="imagefolder, or coco with boxes of the heads.")
    ] = "imagefolder",
    label: Annotated[str, typer.Option(help="Name of the class folder or the category.")] = "generated",
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    psi: Psi = 0.8,
) -> None:
    """Draw training data for other vision models, with a manifest. Run it again to continue."""
    from figment.draw.augment import augment as run_augment

    kept, left_out = run_augment(
        model, output, images=images, data=data, hold=hold, vary=vary, form=form, label=label, seed=seed, psi=psi
    )
    say(f"{output}: {kept} images; {left_out} left out as too similar to a training image; manifest.jsonl")
