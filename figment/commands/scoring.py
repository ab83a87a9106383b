"""How good it is: score, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.base.progress import say
from figment.commands.app import Device, app, example


@app.command(
    epilog=example(
        "score runs/00000-heads heads-64.zip",
        "score fakes/ heads-64.zip -o report",
        "score runs/00000-heads heads-64.zip --features inception=inception-2015-12-05.pt --images 50000",
    )
)
def score(
    model: Annotated[Path, typer.Argument(help="A model file, a run, or a folder or zip of pictures.")],
    data: Annotated[Path, typer.Argument(help="The real pictures: a data set's zip, or a folder.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the report and the fakes nearest to training pictures."),
    ] = None,
    features: Annotated[
        str, typer.Option(help="heads (shipped), inception, inception=FILE or FILE.onnx:OUTPUT[:unit|byte|imagenet].")
    ] = "heads",
    images: Annotated[int | None, typer.Option(help="Fakes of a model; unset means 5000.")] = None,
    sample: Annotated[int, typer.Option(help="Pictures a side for scores of pairs (kernel, precision).")] = 5000,
    device: Device = None,
) -> None:
    """Score pictures against real ones: distances, precision and recall, path length, copies of training pictures."""
    from figment.score.score import describe
    from figment.score.score import score as run_score

    for name, value in describe(
        run_score(model, data, features=features, images=images, sample=sample, out=output, device=device)
    ):
        say(f"{name:<18}{value}")


@app.command(epilog=example("compare runs/00003-heads runs/00004-heads -o compare"))
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two runs or more.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for picture and table.")] = Path("compare"),
    data: Annotated[Path | None, typer.Option(help="What all are scored against; unset means the first run's.")] = None,
    features: Annotated[str, typer.Option(help="The feature network, as in `figment score`.")] = "heads",
    images: Annotated[int, typer.Option(help="Fakes of each model.")] = 2000,
    device: Device = None,
) -> None:
    """Score runs on the same terms, and draw their curves on one picture."""
    from figment.score.compare import compare as run_compare
    from figment.score.compare import table

    rows = run_compare(runs, output, data=data, features=features, images=images, device=device)
    for line in table(rows):
        say(line)
    say(f"{output}: compare.png, compare.md, compare.json")
