"""Drawing: sample, mix, morph, sweep, film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from figment.base.errors import FigmentError
from figment.base.parse import parse_seeds
from figment.base.progress import say
from figment.commands.app import Cutoff, Model, Out, Psi, app, example

if TYPE_CHECKING:
    from figment.draw.blend import Blend

SomeSeeds = Annotated[str | None, typer.Option(help="Seeds and ranges of them, e.g. 0-63 or 1,5,9-12.")]
Blends = Annotated[
    list[Path] | None,
    typer.Option("--blend", help="A model that gives some layers' weights; may be given again for more."),
]
BlendLayers = Annotated[
    list[str] | None,
    typer.Option(
        help="Layers that --blend gives: coarse, middle, fine, or a range such as 8-17; once for each --blend."
    ),
]
BlendAmount = Annotated[float, typer.Option(help="How far towards --blend's weights: 0 not at all, 1 all the way.")]
Seconds = Annotated[float, typer.Option(help="Length of the film.")]
Fps = Annotated[int, typer.Option(help="Frames per second.")]


def _blends(models: list[Path] | None, layers: list[str] | None, amount: float) -> tuple[Blend, ...]:
    """The options --blend, --blend-layers and --blend-amount as blends."""
    from figment.draw.blend import Blend

    models, layers = models or [], layers or []
    if len(layers) not in (0, len(models)):
        raise FigmentError(
            f"--blend-layers is given {len(layers)} times, --blend {len(models)} times: give it once "
            "for each, or not at all"
        )
    return tuple(
        Blend(model, band, amount) for model, band in zip(models, layers or ["fine"] * len(models), strict=True)
    )


@app.command(
    epilog=example(
        "sample runs/00000-heads -o out --seeds 0-63 --grid 8x8 --psi 0.7",
        "sample net.pkl -o out --latents hero.npz",
        "sample faces.safetensors -o out --blend heroes.safetensors --blend-layers 8-17",
    )
)
def sample(
    model: Model,
    output: Out,
    seeds: SomeSeeds = None,
    latents: Annotated[Path | None, typer.Option(help="A .npz or .json of z or w, instead of seeds.")] = None,
    grid: Annotated[str | None, typer.Option(help="Columns x rows of grid.png, e.g. 8x8; unset fits.")] = None,
    psi: Psi = 0.7,
    cutoff: Cutoff = None,
    noise: Annotated[str, typer.Option(help="const, random (of the seed) or none.")] = "const",
    noise_strength: Annotated[
        str | None, typer.Option(help="A factor for the layers' noise, or layers with theirs: 0-3:0,fine:2.")
    ] = None,
    blend: Blends = None,
    blend_layers: BlendLayers = None,
    blend_amount: BlendAmount = 1.0,
) -> None:
    """Draw characters by seed (0-63 unless told) or from a file, each to its own PNG, and all of them as a grid."""
    from figment.draw.grid import grid_shape
    from figment.draw.sample import sample as run_sample

    run_sample(
        model,
        output,
        seeds=parse_seeds(seeds) if seeds else None,
        latents=latents,
        grid=grid_shape(grid, "--grid") if grid else None,
        psi=psi,
        cutoff=cutoff,
        noise=noise,
        noise_strength=noise_strength,
        blends=_blends(blend, blend_layers, blend_amount),
    )
    say(f"{output}: grid.png")


@app.command(
    epilog=example(
        "mix runs/00000-heads -o mix.png --rows 0-3 --columns 10-15",
        "mix runs/00000-heads -o mix.png --rows hero.npz --columns 10-15 --layers middle",
    )
)
def mix(
    model: Model,
    output: Out,
    rows: Annotated[str, typer.Option(help="Seeds, or a .npz or .json: they give identity, one a row.")] = "0-3",
    columns: Annotated[str, typer.Option(help="Seeds, or a file: their styles are mixed in, one a column.")] = "10-15",
    layers: Annotated[
        str | None,
        typer.Option(help="What a column gives: coarse, middle, fine, or layers 4-9; unset draws all three tables."),
    ] = None,
    psi: Psi = 0.7,
    cutoff: Cutoff = None,
    blend: Blends = None,
    blend_layers: BlendLayers = None,
    blend_amount: BlendAmount = 1.0,
) -> None:
    """The table of style mixes: source rows times style columns."""
    from figment.draw.mix import mix as run_mix

    run_mix(
        model,
        output,
        rows=rows,
        columns=columns,
        layers=layers,
        psi=psi,
        cutoff=cutoff,
        blends=_blends(blend, blend_layers, blend_amount),
    )
    say(str(output))


@app.command(
    epilog=example(
        "morph runs/00000-heads -o morph.mp4 --seeds 0-5 --seconds 10 --fps 60",
        "morph runs/00000-heads -o morph.gif --path circle --seeds 3,8",
        "morph runs/00000-heads -o morph.webp --keys keys.json",
    )
)
def morph(
    model: Model,
    output: Out,
    seeds: SomeSeeds = None,
    keys: Annotated[
        str | None,
        typer.Option(
            help='Instead of seeds: "3,17,40", a .npz of latents, or a .json list of {"seed", "z", "w" or "file", '
            '"time"}.'
        ),
    ] = None,
    path: Annotated[str, typer.Option(help="spline or linear (in w), spherical or circle (in z).")] = "spline",
    seconds: Seconds = 10.0,
    fps: Fps = 30,
    psi: Psi = 0.7,
    cutoff: Cutoff = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a side; unset keeps the model's, at least 384.")] = None,
    even: Annotated[bool, typer.Option(help="Move the pictures at an even pace.")] = True,
    blend: Blends = None,
    blend_layers: BlendLayers = None,
    blend_amount: BlendAmount = 1.0,
) -> None:
    """A closed loop through characters at an even pace, as MP4, GIF or WebP."""
    from figment.draw.morph import morph as run_morph

    pace = run_morph(
        model,
        output,
        seeds=parse_seeds(seeds) if seeds else None,
        keys=keys,
        path=path,
        seconds=seconds,
        fps=fps,
        psi=psi,
        cutoff=cutoff,
        size=size,
        even=even,
        blends=_blends(blend, blend_layers, blend_amount),
    )
    say(f"{output}: the largest step is {pace.after:.2f} times the mean, {pace.before:.2f} uncorrected")


@app.command(
    epilog=example(
        "sweep runs/00000-heads -o sweep.png --seeds 0-5 --steps 9",
        "sweep runs/00000-heads -o sweep.mp4 --seeds 0-3 --seconds 6",
    )
)
def sweep(
    model: Model,
    output: Out,
    seeds: Annotated[str, typer.Option(help="Seeds, or a .npz or .json of latents.")] = "0-3",
    start: Annotated[float, typer.Option(help="The first truncation psi.")] = -1.0,
    stop: Annotated[float, typer.Option(help="The last truncation psi.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Columns of the picture.")] = 9,
    seconds: Seconds = 6.0,
    fps: Fps = 30,
    cutoff: Cutoff = None,
    blend: Blends = None,
    blend_layers: BlendLayers = None,
    blend_amount: BlendAmount = 1.0,
) -> None:
    """Truncation from one side of the mean to the other, as a picture or a film."""
    from figment.draw.sweep import sweep as run_sweep

    run_sweep(
        model,
        output,
        seeds=seeds,
        start=start,
        stop=stop,
        steps=steps,
        seconds=seconds,
        fps=fps,
        cutoff=cutoff,
        blends=_blends(blend, blend_layers, blend_amount),
    )
    say(str(output))


@app.command(epilog=example("film runs/00000-heads -o film.mp4"))
def film(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    output: Out,
) -> None:
    """Turn a run's grids of fakes into a film of the training."""
    from figment.draw.film import film as run_film

    run_film(run, output)
    say(str(output))
