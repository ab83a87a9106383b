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
from figment.base.settings import within
from figment.cli.app import Device, Model, Psi, app, example, given, output_option
from figment.cli.settings import must

IMAGES = within(8, 10_000_000)
"""Images of a score."""


@app.command(
    epilog=example(
        "score runs/00000-heads heads-64.zip",
        "score fakes/ heads-64.zip -o report",
        "score runs/00000-heads heads-64.zip --features inception=inception-2015-12-05.pt --images 50000",
    )
)
def score(
    model: Annotated[Path, typer.Argument(help="What to score: a model file, a run, or a folder or zip of images.")],
    data: Annotated[Path, typer.Argument(help="The real images: a data set's zip, or a folder.")],
    output: Annotated[
        Path | None,
        output_option(
            "Folder for a report and the fakes closest to training images. Unset: only print the scores.", folder=True
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Network that turns images into features: heads or parts (both shipped), inception (downloaded), "
            "inception=FILE, or FILE.onnx:OUTPUT[:unit|byte|imagenet] with the output and the input range of an ONNX "
            "model. Unset: heads, or parts for a model whose discriminator looked through heads."
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(help="Number of fakes to draw from a model. Unset: 5000.", callback=must(IMAGES)),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(
            help="Maximum number of images per side for the kernel distance, precision and recall, which compare "
            "pairs.",
            callback=must(IMAGES),
        ),
    ] = 5000,
    device: Device = None,
) -> None:
    """Score a model's images against real ones.

    Prints Frechet and kernel distance, precision and recall, path length, and the number of copied training images.
    """
    from figment.score.score import describe
    from figment.score.score import score as run_score

    for name, value in describe(
        run_score(model, data, features=features, images=images, sample=sample, out=output, device=device)
    ):
        say(f"{name:<18}{value}")


@app.command(epilog=example("compare runs/00003-heads runs/00004-heads -o compare"))
def compare(
    runs: Annotated[list[Path], typer.Argument(help="The folders of two or more runs.")],
    output: Annotated[Path, output_option("Folder for the chart and the table.", folder=True)] = Path("compare"),
    data: Annotated[
        Path | None, typer.Option(help="Data set to score all runs against. Unset: the first run's.")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="Network that turns images into features; see `figment score --help`.")
    ] = None,
    images: Annotated[int, typer.Option(help="Number of fakes to draw from each model.", callback=must(IMAGES))] = 2000,
    device: Device = None,
) -> None:
    """Compare the scores of several runs.

    Scores each run's last and best model against the same data, and draws the curves of all runs in one chart.
    """
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
    model: Annotated[
        Path, typer.Argument(help="A model file, a run's folder, or a folder of runs, whose newest is served.")
    ],
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 for the network (requires a token)."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8400,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="FIGMENT_TOKEN",
            help="Secret that visitors need to open the page. Unset: none on this machine, a new one on the network.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Another host name by which browsers reach the page, e.g. art.local. Repeat it for more."),
    ] = None,
    favourites: Annotated[
        Path | None,
        typer.Option(
            help="File that keeps the favorites. Unset: RUN/studio.db, or NAME.studio.db beside a model file."
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    device: Device = None,
) -> None:
    """Serve the studio, a web page to draw characters.

    Browse, breed, morph and save characters, or watch a run while it trains.
    """
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
    output: Annotated[Path, output_option("Folder for the page and its files.", folder=True)],
    psi: Psi = 0.7,
    title: Annotated[
        str | None, typer.Option(help="Heading of the page. Unset: These characters do not exist.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="Seeds of the characters on the page, e.g. 0-99. Unset: from 0, fewer for large images."),
    ] = None,
    favourites: Annotated[
        Path | None,
        typer.Option(
            help="Favorites to show: a studio.db of `figment serve`, or a .npy of w [N, L, D]. Unset: the "
            "model's studio.db if there is one."
        ),
    ] = None,
    credits: Annotated[
        Path | None,
        typer.Option(
            help="Text file that credits the training data. Unset: CREDITS.md beside the model if there is one."
        ),
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Add the generator, so that visitors can draw new characters in the browser.")
    ] = False,
    half: Annotated[
        bool, typer.Option("--half", help="With --onnx: store weights in 16 bits, which halves the download.")
    ] = False,
    runtime: Annotated[
        Path | None,
        typer.Option(
            help="With --onnx: the package onnxruntime-web, as .tgz or folder. Unset: from the cache, or downloaded "
            "from npm."
        ),
    ] = None,
) -> None:
    """Write a static web page of characters.

    It shows samples, favorites, a morph and the video of the training, and works on any web host.
    """
    from figment.web.publish import publish as run_publish

    options = {
        "title": title,
        "seeds": parse_seeds(seeds) if seeds is not None else None,
        "favourites": favourites,
        "credits": credits,
        "runtime": runtime,
    }
    run_publish(model, output, psi=psi, onnx=onnx, half=half, **given(options))
    say(f"{output / 'index.html'}")


@app.command(epilog=example("export runs/00000-heads -o net.onnx", "export faces.safetensors -o net.onnx --split"))
def export(
    model: Model,
    output: Annotated[Path, output_option("ONNX file.", folder=False)],
    split: Annotated[
        bool,
        typer.Option("--split", help="Write two files: NAME.mapping.onnx (z to w) and NAME.synthesis.onnx (w to RGB)."),
    ] = False,
    half: Annotated[
        bool, typer.Option("--half", help="Store weights in 16 bits, which halves the size of the file.")
    ] = False,
) -> None:
    """Export the generator as ONNX for other programs.

    The output of the ONNX model is compared with PyTorch's before the file is saved.
    """
    from figment.draw.export import export as run_export

    done = run_export(model, output, split=split, half=half)
    for file in done.files:
        say(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    say(f"largest difference from PyTorch: {done.difference:.1e}, for images in [-1, 1]")


@app.command(
    epilog=example(
        "convert karras2019stylegan-ffhq.pkl -o ffhq.safetensors",
        "convert net.pkl -o start.safetensors --resolution 256",
        "convert model.safetensors -o net.pkl --to nvidia",
        "convert model.safetensors -o net.pt --to rosinality",
    )
)
def convert(
    file: Annotated[Path, typer.Argument(help="A checkpoint in any format that figment reads, a model file or a run.")],
    output: Annotated[
        Path, output_option("File to write: .safetensors, .pkl for nvidia, or .pt for rosinality.", folder=False)
    ],
    to: Annotated[
        str | None,
        typer.Option(
            help="Output format: figment; nvidia for stylegan2-ada-pytorch, the stylegan3 repository and tools built "
            "on them, such as DragGAN; or rosinality for the StyleGAN2 code of that name. Unset: figment."
        ),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(help="New side of the images in pixels, reached by adding or removing blocks. Unset: unchanged."),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="New number of image channels: 3 for RGB, 4 for RGBA. Unset: unchanged.")
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels/--no-labels", help="Keep the class labels that the model takes, or drop them.")
    ] = True,
) -> None:
    """Convert a checkpoint to figment's or another format.

    Code inside a checkpoint is never executed.
    """
    from figment.models import convert as run_convert

    _, done = run_convert(file, output, to, resolution=resolution, channels=channels, labels=labels)
    for line in done:
        say(line)
    say(str(output))


@app.command(
    epilog=example("info karras2019stylegan-ffhq.pkl", "info runs/00000-heads", "info heads.zip", "info heads/")
)
def info(
    what: Annotated[Path, typer.Argument(help="A checkpoint, a model file, a run, a data set or a heads folder.")],
) -> None:
    """Describe a model, run, data set or heads folder."""
    from figment.info import describe

    for name, value in describe(what):
        say(f"{name:<14}{value}")
