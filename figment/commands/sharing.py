"""Showing it to others: publish, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.base.parse import parse_seeds
from figment.base.progress import say
from figment.commands.app import Model, Out, Psi, app, example, given


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
    title: Annotated[str | None, typer.Option(help="The page's heading.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Faces on the wall, e.g. 0-99; unset fits their size.")] = None,
    favourites: Annotated[
        Path | None,
        typer.Option(
            help="The studio's studio.db, or a .npy of w [N, L, D]; unset takes the run's studio.db where there is one."
        ),
    ] = None,
    credits: Annotated[
        Path | None,
        typer.Option(
            help="Who made what it learned from, as text; unset takes CREDITS.md beside the model where there is one."
        ),
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="New characters for ever, drawn by the visitor's browser.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="With --onnx: weights in 16 bits, half the download.")] = False,
    runtime: Annotated[
        Path | None,
        typer.Option(
            help="With --onnx: onnxruntime-web's .tgz or folder; unset takes the cached one, or npm fetches it."
        ),
    ] = None,
) -> None:
    """A static page of samples, favourites, the morph and the training film, for any file host."""
    from figment.web.publish import publish as run_publish

    run_publish(
        model,
        output,
        psi=psi,
        onnx=onnx,
        half=half,
        **given(
            {
                "title": title,
                "seeds": parse_seeds(seeds) if seeds else None,
                "favourites": favourites,
                "credits": credits,
                "runtime": runtime,
            }
        ),
    )
    say(f"{output / 'index.html'}")


@app.command(epilog=example("export runs/00000-heads -o net.onnx", "export faces.safetensors -o net.onnx --split"))
def export(
    model: Model,
    output: Out,
    split: Annotated[
        bool,
        typer.Option(
            "--split", help="Two files, .mapping.onnx (z to w) and .synthesis.onnx (w to rgb), to edit w between."
        ),
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Weights stored in 16 bits: half the size.")] = False,
) -> None:
    """The generator as ONNX for other programs, compared with PyTorch before it is written."""
    from figment.draw.export import export as run_export

    done = run_export(model, output, split=split, half=half)
    for file in done.files:
        say(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    say(f"largest difference from PyTorch {done.difference:.1e}, in pictures from -1 to 1")
