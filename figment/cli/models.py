"""Models and runs: score, compare, serve, publish, export, convert, info.

figment score runs/00000-heads heads.zip
figment serve runs/00000-heads --open
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.base.errors import FigmentError
from figment.base.parse import parse_seeds
from figment.base.progress import say
from figment.cli.app import Device, Model, Out, Psi, app, example, given


@app.command(
    epilog=example(
        "score runs/00000-heads heads-64.zip",
        "score fakes/ heads-64.zip -o report",
        "score runs/00000-heads heads-64.zip --features inception=inception-2015-12-05.pt --images 50000",
    )
)
def score(
    model: Annotated[Path, typer.Argument(help="A model file, a run, or a folder or zip of images.")],
    data: Annotated[Path, typer.Argument(help="The real images: a data set's zip, or a folder.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the report and the fakes closest to training images."),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            help="Feature network: heads (shipped), inception, inception=FILE, or "
            "FILE.onnx:OUTPUT[:unit|byte|imagenet]."
        ),
    ] = "heads",
    images: Annotated[int | None, typer.Option(help="Number of fakes to draw from a model. Unset: 5000.")] = None,
    sample: Annotated[int, typer.Option(help="Max images per set for KD and precision/recall.")] = 5000,
    device: Device = None,
) -> None:
    """Score images against real ones: distances, precision and recall, path length, copies of training images."""
    from figment.score.score import describe
    from figment.score.score import score as run_score

    for name, value in describe(
        run_score(model, data, features=features, images=images, sample=sample, out=output, device=device)
    ):
        say(f"{name:<18}{value}")


@app.command(epilog=example("compare runs/00003-heads runs/00004-heads -o compare"))
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two runs or more.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the chart and the table.")] = Path(
        "compare"
    ),
    data: Annotated[
        Path | None, typer.Option(help="Data set to score all runs against. Unset: that of the first run.")
    ] = None,
    features: Annotated[str, typer.Option(help="Feature network, as in `figment score`.")] = "heads",
    images: Annotated[int, typer.Option(help="Number of fakes to draw from each model.")] = 2000,
    device: Device = None,
) -> None:
    """Score runs on the same terms, and draw their curves in one chart."""
    from figment.score.compare import compare as run_compare
    from figment.score.compare import table

    rows = run_compare(runs, output, data=data, features=features, images=images, device=device)
    for line in table(rows):
        say(line)
    say(f"{output}: compare.png, compare.md, compare.json")


@app.command(
    epilog=example("serve runs/00000-heads --open", "serve faces.safetensors --port 8500", "serve runs --host 0.0.0.0")
)
def serve(
    model: Annotated[Path, typer.Argument(help="A model file, a run's folder, or a folder of runs for the newest.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own requires a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8400,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="FIGMENT_TOKEN", help="Token that visitors must send. Unset: a new one if --host requires it."
        ),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="A host name that the studio may be reached by, e.g. art.local.")
    ] = None,
    favourites: Annotated[Path | None, typer.Option(help="File of favorites. Unset: beside the model.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    device: Device = None,
) -> None:
    """Serve the studio: a page to browse, breed, morph and save characters, and to watch a run."""
    try:
        from figment.web.studio import serve as run_serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "anyio"):
            raise
        raise FigmentError("serve: needs the extra `web`: pip install 'figment-gan[web]'") from None
    run_serve(
        model,
        host=host,
        port=port,
        token=token,
        names=tuple(name or ()),
        device=device,
        favourites=favourites,
        browser=open_page,
    )


@app.command(
    epilog=example(
        "publish runs/00000-heads -o site",
        "publish runs/00000-heads -o site --onnx --half",
        "publish faces.safetensors -o site --seeds 0-99 --onnx --runtime onnxruntime-web-1.30.0.tgz",
    )
)
def publish(
    model: Model,
    output: Out,
    psi: Psi = 0.7,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds of the faces on the page, e.g. 0-99. Unset: depends on their size.")
    ] = None,
    favourites: Annotated[
        Path | None,
        typer.Option(
            help="The studio's studio.db, or a .npy of w [N, L, D]. Unset: the run's studio.db if there is one."
        ),
    ] = None,
    credits: Annotated[
        Path | None,
        typer.Option(help="Text that credits the training data. Unset: CREDITS.md beside the model if there is one."),
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Let the visitor's browser draw endless new characters.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="With --onnx: 16-bit weights, half the download.")] = False,
    runtime: Annotated[
        Path | None,
        typer.Option(help="With --onnx: onnxruntime-web as .tgz or folder. Unset: cached, or downloaded from npm."),
    ] = None,
) -> None:
    """Write a static page of samples, favorites, the morph and the training video, for any web host."""
    from figment.web.publish import publish as run_publish

    options = {
        "title": title,
        "seeds": parse_seeds(seeds) if seeds else None,
        "favourites": favourites,
        "credits": credits,
        "runtime": runtime,
    }
    run_publish(model, output, psi=psi, onnx=onnx, half=half, **given(options))
    say(f"{output / 'index.html'}")


@app.command(epilog=example("export runs/00000-heads -o net.onnx", "export faces.safetensors -o net.onnx --split"))
def export(
    model: Model,
    output: Out,
    split: Annotated[
        bool,
        typer.Option("--split", help="Write two files, .mapping.onnx (z to w) and .synthesis.onnx (w to RGB)."),
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Store weights in 16 bits: half the size.")] = False,
) -> None:
    """Export the generator as ONNX for other programs, after comparing its output with PyTorch's."""
    from figment.draw.export import export as run_export

    done = run_export(model, output, split=split, half=half)
    for file in done.files:
        say(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    say(f"largest difference from PyTorch: {done.difference:.1e}, for images in [-1, 1]")


@app.command(
    epilog=example(
        "convert karras2019stylegan-ffhq.pkl -o ffhq.safetensors",
        "convert net.pkl -o start.safetensors --resolution 256",
        "convert model.safetensors -o net.pt --to rosinality",
    )
)
def convert(
    file: Annotated[Path, typer.Argument(help="Any checkpoint, model file or run.")],
    output: Out,
    to: Annotated[str | None, typer.Option(help="Output format: figment or rosinality. Unset: figment.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Add or remove blocks to reach this side in pixels.")] = None,
    channels: Annotated[int | None, typer.Option(help="Change the image channels: 3 for RGB, 4 for RGBA.")] = None,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Keep the labels, or drop them.")] = True,
) -> None:
    """Convert any checkpoint to a figment model file, or to another program's format. No code in it is executed."""
    from figment.models import convert as run_convert

    _, done = run_convert(file, output, to, resolution=resolution, channels=channels, labels=labels)
    for line in done:
        say(line)
    say(str(output))


@app.command(
    epilog=example("info karras2019stylegan-ffhq.pkl", "info runs/00000-heads", "info heads.zip", "info heads/")
)
def info(
    what: Annotated[Path, typer.Argument(help="A checkpoint, model file, run, data set or heads folder.")],
) -> None:
    """Describe a file or folder: what it is and what is in it."""
    from figment.info import describe

    for name, value in describe(what):
        say(f"{name:<14}{value}")
