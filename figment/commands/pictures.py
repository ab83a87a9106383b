"""From pictures to a data set: demo-art, crop, curate, pack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.base.docs import field_docs
from figment.base.progress import say
from figment.commands.app import Out, app, example, given

CURATE = field_docs("curate/verdicts.py")


@app.command(epilog=example("demo-art pictures --pictures 400 --seed 0"))
def demo_art(
    out: Annotated[Path, typer.Argument(help="The folder to fill.")],
    pictures: Annotated[int, typer.Option(help="How many pictures.")] = 400,
    seed: Annotated[int, typer.Option(help="Another seed draws other pictures.")] = 0,
) -> None:
    """Draw pictures to practise on: characters, clutter, and everything that goes wrong in real collections."""
    from figment.demo.art import make_demo_art

    make_demo_art(out, pictures=pictures, seed=seed)
    say(f"{out}: {pictures} pictures, truth.json, CREDITS.md")


@app.command(epilog=example("crop pictures/ -o heads/", "crop pictures/ -o heads/ --threshold 0.5"))
def crop(
    pictures: Annotated[Path, typer.Argument(help="The folder of pictures.")],
    output: Out,
    threshold: Annotated[float | None, typer.Option(help="Least confidence of a head, 0 to 1.")] = None,
    margin: Annotated[float | None, typer.Option(help="Margin around a head, as a share of its longer side.")] = None,
    detector: Annotated[Path | None, typer.Option(help="Detector or ONNX export; unset: the shipped one.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster that sees the same folders.")] = "local",
) -> None:
    """Find the heads in a folder of pictures and cut them out as squares."""
    from figment.heads.crop import crop_pictures

    options = {"threshold": threshold, "margin": margin, "detector": detector, "engine": engine}
    say(crop_pictures(pictures, output, **given(options)).line())


@app.command(epilog=example("curate heads/", "curate heads/ --min-size 96 --max-cut 0.2"))
def curate(
    heads: Annotated[Path, typer.Argument(help="A heads folder made by `figment crop`.")],
    min_size: Annotated[float | None, typer.Option(help=CURATE["min_size"])] = None,
    min_true_size: Annotated[float | None, typer.Option(help=CURATE["min_true_size"])] = None,
    min_sharpness: Annotated[float | None, typer.Option(help=CURATE["min_sharpness"])] = None,
    max_blocking: Annotated[float | None, typer.Option(help=CURATE["max_blocking"])] = None,
    min_contrast: Annotated[float | None, typer.Option(help=CURATE["min_contrast"])] = None,
    min_brightness: Annotated[float | None, typer.Option(help=CURATE["min_brightness"])] = None,
    min_headness: Annotated[float | None, typer.Option(help=CURATE["min_headness"])] = None,
    max_cut: Annotated[float | None, typer.Option(help=CURATE["max_cut"])] = None,
    max_difference: Annotated[float | None, typer.Option(help=CURATE["max_difference"])] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that measure; unset: one a core.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for a cluster that sees the same folder.")] = "local",
) -> None:
    """Judge every head by rules; nothing is deleted, and other thresholds start from the same rows."""
    from figment.curate.curate import curate as run_curate
    from figment.curate.verdicts import Thresholds

    options = {
        "min_size": min_size,
        "min_true_size": min_true_size,
        "min_sharpness": min_sharpness,
        "max_blocking": max_blocking,
        "min_contrast": min_contrast,
        "min_brightness": min_brightness,
        "min_headness": min_headness,
        "max_cut": max_cut,
        "max_difference": max_difference,
    }
    say(run_curate(heads, Thresholds(**given(options)), workers, engine).line())


@app.command(
    epilog=example(
        "pack heads/ -o heads-64.zip --resolution 64",
        "pack heads/ -o heads-512 --format tfrecord --resolution 512",
        "pack art/ -o art.zip --labels folders --alpha keep",
        "pack heads/ -o heads.zip --upscale 'realesrgan-ncnn-vulkan -i {in} -o {out}'",
    )
)
def pack(
    heads: Annotated[Path, typer.Argument(help="A curated heads folder, or any folder of pictures.")],
    output: Out,
    resolution: Annotated[int | None, typer.Option(help="Side in pixels; unset takes what the crops fill.")] = None,
    form: Annotated[str, typer.Option("--format", help="zip, or tfrecord: a folder as StyleGAN1's.")] = "zip",
    labels: Annotated[
        str | None,
        typer.Option(help="`folders` takes the first sub-folder as the class; or a CSV: file,label or file,l0,l1,..."),
    ] = None,
    alpha: Annotated[str, typer.Option(help="keep makes RGBA; or what to lay transparent pixels over.")] = "white",
    upscale: Annotated[
        str,
        typer.Option(
            help="What enlarges small heads: lanczos, a command with {in} and {out}, or none, which leaves them out.",
        ),
    ] = "lanczos",
    shuffle: Annotated[bool, typer.Option(help="TFRecords in the original tool's shuffled order.")] = True,
    workers: Annotated[int | None, typer.Option(help="Processes; unset: one a core. The bytes are the same.")] = None,
) -> None:
    """Pack the kept heads into a data set for training; killed at any moment, the same command goes on."""
    from figment.pack.zips import pack as run_pack

    summary = run_pack(
        heads,
        output,
        resolution=resolution,
        form=form,
        labels=labels,
        alpha=alpha,
        upscale=upscale,
        shuffle=shuffle,
        workers=workers,
    )
    for line in summary.failed:
        say(f"left out: {line}")
    larger = f", {summary.enlarged} of them enlarged" if summary.enlarged else ""
    say(f"{output}: {summary.packed} heads at {summary.resolution}x{summary.resolution}{larger}")
