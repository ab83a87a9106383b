"""The whole path in one command: make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.base.parse import parse_duration
from figment.commands.app import TRAIN, Device, Out, app, example


@app.command(epilog=example("make pictures/ -o hero/ --time 8h", "make pictures/ -o hero/ --kimg 2500"))
def make(
    pictures: Annotated[Path, typer.Argument(help="The folder of pictures.")],
    output: Out,
    time: Annotated[str | None, typer.Option(help="Training time, e.g. 8h or 90m.")] = None,
    kimg: Annotated[float | None, typer.Option(help=TRAIN["kimg"])] = None,
    resolution: Annotated[int | None, typer.Option(help="Side in pixels; unset takes what the crops fill.")] = None,
    seed: Annotated[int, typer.Option(help=TRAIN["seed"])] = 0,
    device: Device = None,
) -> None:
    """Crop, curate, pack, train, draw and publish; running it again goes on where it stopped."""
    from figment.make import Wishes
    from figment.make import make as run_make

    sec = parse_duration(time) if time else None
    if sec is None and kimg is None:
        sec = parse_duration("30m" if device == "cpu" or not _has_gpu() else "8h")
    run_make(pictures, output, Wishes(sec, kimg, resolution, seed, device))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
