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
from figment.base.parse import parse_pair, parse_seeds
from figment.base.progress import say
from figment.base.settings import PROBABILITY, PSI, SEED, STEPS, Z_SEED, within
from figment.cli.app import Cutoff, Device, Model, Psi, app, example, output_option
from figment.cli.settings import Command, add_options, must, option

if TYPE_CHECKING:
    from figment.draw.blend import Blend

Seconds = Annotated[float, typer.Option(help="Length of a video in seconds.", callback=must(within(0.01, 3600)))]
Fps = Annotated[int, typer.Option(help="Frames per second of a video.", callback=must(within(1, 120)))]


# Options that several commands share -----------------------------------------------------------------------------

Models = Annotated[
    list[Path] | None,
    typer.Option(
        "--blend", help="Another model, whose weights replace those of some layers. Repeat it for more models."
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        help="Layers to take from --blend: a band such as fine, or a range such as 8-17. Give it once per --blend. "
        "Unset: fine."
    ),
]
Amount = Annotated[
    float,
    typer.Option(
        help="Share of the weights of --blend: 0 keeps the model's own, 1 replaces them, 0.5 averages both.",
        callback=must(PROBABILITY),
    ),
]


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
Degrees = Annotated[
    float,
    typer.Option(
        help="Degrees to rotate by, counterclockwise. Only StyleGAN3 R is made for it.",
        callback=must(within(-360, 360)),
    ),
]
Shift = Annotated[
    str,
    typer.Option(help="How far to shift the pictures to the right and down, as shares of the width, e.g. 0.1,-0.2."),
]


def parse_move(options: dict[str, Any]) -> dict[str, Any]:
    """Return the values of --rotate and --shift as arguments."""
    return {"rotate": options["rotate"], "shift": parse_pair(options["shift"], "--shift")}


with_move = add_options([option("rotate", Degrees, 0.0), option("shift", Shift, "0,0")], parse_move)
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
@with_move
def sample(
    model: Model,
    output: Annotated[Path, output_option("Folder for the PNGs, grid.png and latents.npz.", folder=True)],
    seeds: Annotated[
        str | None, typer.Option(help="Seeds of the characters, e.g. 0-63 or 1,5,9-12. Unset: 0-63.")
    ] = None,
    latents: Annotated[
        Path | None, typer.Option(help="Draw these characters instead of seeds: a .npz or .json with z or w.")
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(help="Columns and rows of grid.png, e.g. 8x8. Unset: about square, with all characters."),
    ] = None,
    noise: Annotated[
        str, typer.Option(help="Per-pixel noise: const (the same for all), random (from the seed) or none.")
    ] = "const",
    noise_strength: Annotated[
        str | None,
        typer.Option(
            help="Factor for the noise: one for all layers, e.g. 0.5, or by layer or band, e.g. 0-3:0,fine:2. "
            "Unset: unchanged."
        ),
    ] = None,
    **shared: Any,
) -> None:
    """Draw characters as PNGs and as a grid.

    Characters come from seeds or from a file of latents. Networks that compute beyond the edges of their pictures, as
    the alias-free ones do, can also rotate and shift them.
    """
    from figment.draw.grid import grid_shape
    from figment.draw.sample import sample as run_sample

    run_sample(
        model,
        output,
        seeds=parse_seeds(seeds) if seeds is not None else None,
        latents=latents,
        grid=grid_shape(grid, "--grid") if grid is not None else None,
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
    output: Annotated[Path, output_option("PNG file.", folder=False)],
    rows: Annotated[
        str, typer.Option(help="Characters at the left: seeds, or a .npz or .json file of latents.")
    ] = "0-3",
    columns: Annotated[
        str, typer.Option(help="Characters along the top: seeds, or a .npz or .json file of latents.")
    ] = "10-15",
    layers: Annotated[
        str | None,
        typer.Option(
            help="Layers to take from the top: a band such as coarse, or a range such as 4-9. Unset: one table for "
            "each band."
        ),
    ] = None,
    **shared: Any,
) -> None:
    """Draw a table of style mixes.

    Each cell shows the character at its left, with some layers replaced by those of the character at the top.
    """
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
    output: Annotated[Path, output_option("Video: .mp4, .gif or .webp.", folder=False)],
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Characters to pass through in this order, as seeds, e.g. 3,17,40. Unset: 0-5, or 0,1 for circle."
        ),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(
            help="Characters to pass through, instead of --seeds: a .npz of latents, or a .json list of key frames "
            'such as {"seed": 3, "time": 1.5}, with "seed", "z", "w" or "file" and a time in seconds.'
        ),
    ] = None,
    path: Annotated[
        str, typer.Option(help="Path between the characters: spline or linear in w, spherical or circle in z.")
    ] = "spline",
    size: Annotated[
        int | None,
        typer.Option(
            help="Side of the video in pixels. Unset: the model's, but at least 384.", callback=must(within(16, 8192))
        ),
    ] = None,
    even: Annotated[
        bool, typer.Option(help="Even out the speed of visible change, or take equal steps along the path.")
    ] = True,
    **shared: Any,
) -> None:
    """Make a video that morphs through characters.

    The video is a closed loop: it ends where it begins.
    """
    from figment.draw.morph import morph as run_morph

    pace = run_morph(
        model,
        output,
        seeds=parse_seeds(seeds) if seeds is not None else None,
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
    output: Annotated[Path, output_option("Picture (.png) or video (.mp4, .gif or .webp).", folder=False)],
    seeds: Annotated[str, typer.Option(help="Characters: seeds, or a .npz or .json file of latents.")] = "0-3",
    start: Annotated[float, typer.Option(help="First truncation psi.", callback=must(PSI))] = -1.0,
    stop: Annotated[float, typer.Option(help="Last truncation psi.", callback=must(PSI))] = 1.0,
    steps: Annotated[int, typer.Option(help="Number of columns of a picture.", callback=must(within(2, 1000)))] = 9,
    cutoff: Cutoff = None,
    **shared: Any,
) -> None:
    """Draw characters at a range of truncations.

    At psi 0 all of them look average, at psi 1 each is itself, and at psi -1 each becomes its opposite.
    """
    from figment.draw.sweep import sweep as run_sweep

    run_sweep(model, output, seeds=seeds, start=start, stop=stop, steps=steps, cutoff=cutoff, **shared)
    say(str(output))


@app.command(epilog=example("film runs/00000-heads -o film.mp4"))
def film(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    output: Annotated[Path, output_option("Video: .mp4, .gif or .webp.", folder=False)],
) -> None:
    """Make a video of a training run.

    Its frames are the grids of fakes that the run saved.
    """
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
    output: Annotated[
        Path, output_option("Folder for the results: NAME.png and NAME.npz for each picture.", folder=True)
    ],
    space: Annotated[
        str,
        typer.Option(
            help="w: one latent for all layers. w+: one latent per layer, which gets closer but is harder to edit."
        ),
    ] = "w",
    steps: Annotated[int, typer.Option(help="Number of optimization steps.", callback=must(STEPS))] = 200,
    crop: Annotated[
        bool,
        typer.Option("--crop/--no-crop", help="Crop the head first; not needed for pictures that show only a head."),
    ] = True,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Then fine-tune the generator to the picture, and save it as NAME.safetensors."),
    ] = False,
    film: Annotated[bool, typer.Option("--film", help="Save a video of the optimization as NAME.mp4.")] = False,
    seed: Annotated[int, typer.Option(help="Random seed of the optimization.", callback=must(SEED))] = 0,
    device: Device = None,
) -> None:
    """Find the character that looks most like a picture.

    Saves the character as a PNG and as a latent, and prints its perceptual distance from the picture.
    """
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
        Path | None,
        output_option("PNG file for the sheet of directions; with --apply, a folder for the edited characters."),
    ] = None,
    find: Annotated[
        str | None,
        typer.Option(
            help="Method that finds directions: sefa or pca. Draws a sheet with a row per direction. Unset: sefa."
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="Number of directions on the sheet.", callback=must(within(1, 1000)))] = 8,
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="Save a direction from the sheet with the model: NUMBER=NAME, e.g. 3=hair-length. Repeat it for more."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help='Fit directions to labeled seeds and save them: a JSON file like {"smile": {"17": 1, "18": 0, ...}}, '
            "with at least 4 seeds for each property."
        ),
    ] = None,
    apply: Annotated[
        str | None,
        typer.Option(
            help="Draw edited characters: NAME=AMOUNT,... in standard deviations, e.g. hair-length=2,smile=-1."
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Change only these layers: a band such as coarse, or a range such as 4-9. Unset: all layers, or "
            "with --apply those saved with the direction."
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the characters to show or edit, e.g. 0-7 or 1,5,9-12.")] = "0",
    psi: Psi = 0.7,
) -> None:
    """Find and apply directions that edit characters.

    A direction in latent space changes one property, such as the length of the hair. Draw a sheet of directions
    (--find), save good ones under a name (--name), or fit them to labels (--labels); then use them (--apply).
    """
    from figment.draw import edit as stage

    chosen = parse_seeds(seeds)
    _check_tasks(find=find, name=name, labels=labels, apply=apply, layers=layers, output=output)
    if name:
        for direction in stage.name_directions(model, name, method="sefa" if find is None else find, layers=layers):
            say(f"{direction.name}: saved with {model}")
    elif labels:
        for direction in stage.fit(model, labels, layers=layers):
            say(f"{direction.name}: fitted, saved with {model}")
    elif output is None:
        raise FigmentError("--output: give a file for the sheet or a folder for the edits")
    elif apply is not None:
        stage.edit(model, output, apply=apply, seeds=chosen, layers=layers, psi=psi)
        say(f"{output}: grid.png, each character before and after")
    else:
        stage.find(model, output, method="sefa" if find is None else find, count=count, seeds=chosen, psi=psi)
        say(f"{output}: a row per direction, from -4 to 4 standard deviations")


def _check_tasks(**options: Any) -> None:
    """Raise FigmentError for options of `edit` of which one would be ignored because of another."""
    name, labels, apply = (f"--{task}" if options[task] else None for task in ("name", "labels", "apply"))
    tasks = [task for task in (name, labels, apply) if task]
    if len(tasks) > 1:
        raise FigmentError(f"{' and '.join(tasks)}: give one of them; each is a task of its own")
    if options["find"] is not None and (labels or apply):
        raise FigmentError(f"--find {options['find']}: finds directions for a sheet or for --name, not with {tasks[0]}")
    if options["output"] is not None and (name or labels):
        raise FigmentError(f"--output {options['output']}: not with {tasks[0]}, which saves directions with the model")
    if options["layers"] is not None and not tasks:
        raise FigmentError(f"--layers {options['layers']}: only with --name, --labels or --apply; a sheet shows all")


@app.command(
    epilog=example(
        "augment runs/00000-heads -o more --images 1000 --data heads-64.zip",
        "augment runs/00000-heads -o one --images 200 --hold 17 --vary fine",
    )
)
def augment(
    model: Model,
    output: Annotated[Path, output_option("Folder for the images and their manifest.", folder=True)],
    images: Annotated[
        int,
        typer.Option(
            help="Number of images to draw; those left out because of --data are not replaced.",
            callback=must(within(1, 10_000_000)),
        ),
    ] = 1000,
    data: Annotated[
        Path | None,
        typer.Option(
            help="The model's training images (zip or folder); drawn images that nearly copy one are left out."
        ),
    ] = None,
    hold: Annotated[
        int | None,
        typer.Option(
            help="Seed of a character that all images share, except for the bands of --vary. Needed if "
            "--vary leaves out a band.",
            callback=must(Z_SEED),
        ),
    ] = None,
    vary: Annotated[
        str | None,
        typer.Option(
            help="Bands of layers that differ from image to image, e.g. coarse,fine; the other bands come from --hold. "
            "Unset: all bands."
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option("--format", help="imagefolder (a folder named after the class), or coco with boxes of the heads."),
    ] = "imagefolder",
    label: Annotated[str, typer.Option(help="Name of the class folder or of the COCO category.")] = "generated",
    seed: Annotated[
        int,
        typer.Option(help="Seed of the first image; the next images take the seeds after it.", callback=must(Z_SEED)),
    ] = 0,
    psi: Psi = 0.8,
) -> None:
    """Draw training data for other vision models.

    manifest.jsonl has a line for each image. If interrupted, run the same command again to continue.
    """
    from figment.draw.augment import augment as run_augment

    kept, left_out = run_augment(
        model, output, images=images, data=data, hold=hold, vary=vary, form=form, label=label, seed=seed, psi=psi
    )
    say(f"{output}: {kept} images; {left_out} left out as too similar to a training image; manifest.jsonl")
