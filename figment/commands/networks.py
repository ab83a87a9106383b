"""Networks of all origins: convert, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.base.progress import say
from figment.commands.app import Out, app, example


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
    to: Annotated[str | None, typer.Option(help="figment (unset means this) or rosinality.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Grow or cut levels to this side in pixels.")] = None,
    channels: Annotated[int | None, typer.Option(help="Change the colours: 3 for RGB, 4 for RGBA.")] = None,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Keep the labels, or drop them.")] = True,
) -> None:
    """Turn any checkpoint into a figment model file, or into another program's; nothing in it is ever run."""
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
    """Tell what a file or folder is and what is in it."""
    from figment.info import describe

    for name, value in describe(what):
        say(f"{name:<14}{value}")
