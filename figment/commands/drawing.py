"""Drawing: sample, morph, film, mix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.base.progress import say
from figment.base.seeds import parse_seeds
from figment.commands.app import Cutoff, Model, Out, Psi, Seeds, app, example


@app.command(epilog=example("sample runs/00000-heads -o out --seeds 0-63 --grid 8x8 --psi 0.7"))
def sample(
    model: Model,
    output: Out,
    seeds: Seeds = "0-63",
    grid: Annotated[str | None, typer.Option(help="Columns x rows of grid.png, e.g. 8x8; unset fits.")] = None,
    psi: Psi = 0.7,
    cutoff: Cutoff = None,
) -> None:
    """Draw characters by seed, each to its own PNG, and all of them as a grid."""
    from figment.draw.grid import grid_shape
    from figment.draw.sample import sample as run_sample

    shape = grid_shape(grid, "--grid") if grid else None
    run_sample(model, output, seeds=parse_seeds(seeds), grid=shape, psi=psi, cutoff=cutoff)
    say(f"{output}: grid.png")


@app.command(epilog=example("morph runs/00000-heads -o morph.mp4 --seeds 0-5 --seconds 10"))
def morph(
    model: Model,
    output: Out,
    seeds: Seeds = "0-5",
    seconds: Annotated[float, typer.Option(help="Length of the loop.")] = 10.0,
    fps: Annotated[int, typer.Option(help="Frames per second.")] = 30,
    psi: Psi = 0.7,
) -> None:
    """A closed loop through the characters of some seeds as an MP4, at an even pace."""
    from figment.draw.morph import morph as run_morph

    run_morph(model, output, seeds=parse_seeds(seeds), seconds=seconds, fps=fps, psi=psi)
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


@app.command(epilog=example("mix runs/00000-heads -o mix.png --rows 0-3 --columns 10-15"))
def mix(
    model: Model,
    output: Out,
    rows: Annotated[str, typer.Option(help="Seeds that give identity, one a row.")] = "0-3",
    columns: Annotated[str, typer.Option(help="Seeds whose styles are mixed in, one a column.")] = "10-15",
    layers: Annotated[str, typer.Option(help="What a column gives: coarse, middle, fine, or layers 4-9.")] = "middle",
    psi: Psi = 0.7,
) -> None:
    """The table of style mixes: source rows times style columns."""
    from figment.draw.mix import mix as run_mix

    run_mix(model, output, rows=parse_seeds(rows), columns=parse_seeds(columns), layers=layers, psi=psi)
    say(str(output))
