"""From pictures to a data set: make, demo-art, crop, curate, review, report, pack, heads detect|train|score.

figment crop pictures/ -o heads/
figment curate heads/
figment pack heads/ -o heads.zip
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from figment.base.parse import parse_duration
from figment.base.progress import say
from figment.cli.app import Device, Out, app, example, given
from figment.cli.settings import settings_of
from figment.curate.verdicts import Thresholds
from figment.train.config import Schedule

Pictures = Annotated[Path, typer.Argument(help="A folder of pictures.")]
Heads = Annotated[Path, typer.Argument(help="A heads folder made by `figment crop`.")]
Threshold = Annotated[float | None, typer.Option(help="Minimum confidence of a head, 0 to 1.")]
Detector = Annotated[Path | None, typer.Option(help="A detector, or its ONNX export. Unset: the shipped one.")]
Engine = Annotated[str, typer.Option(help="local, or ray for a cluster on which all nodes see the same folders.")]
Side = Annotated[int | None, typer.Option(help="Side of the images in pixels. Unset: what most crops fill.")]


@app.command(epilog=example("make pictures/ -o hero/ --time 8h", "make pictures/ -o hero/ --kimg 2500"))
@settings_of(Schedule, only=("kimg", "seed"), show_defaults=False, first=("output", "time", "kimg"))
def make(
    pictures: Pictures,
    output: Out,
    time: Annotated[
        str | None, typer.Option(help="Training time, e.g. 8h or 90m. Unset: 8h on a GPU, 30m on a CPU.")
    ] = None,
    resolution: Side = None,
    device: Device = None,
    **settings: Any,
) -> None:
    """Crop, curate, pack, train, draw and publish. Run it again to continue where it stopped."""
    from figment.make import MakeOptions
    from figment.make import make as run_make

    sec = parse_duration(time) if time else None
    if sec is None and "kimg" not in settings:
        sec = parse_duration("30m" if device == "cpu" or not _has_gpu() else "8h")
    run_make(pictures, output, MakeOptions(sec=sec, resolution=resolution, device=device, **settings))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@app.command(epilog=example("demo-art pictures --pictures 400 --seed 0"))
def demo_art(
    out: Annotated[Path, typer.Argument(help="The folder to fill.")],
    pictures: Annotated[int, typer.Option(help="Number of pictures.")] = 400,
    seed: Annotated[int, typer.Option(help="Random seed of the pictures.")] = 0,
) -> None:
    """Draw pictures to practice on: characters, clutter, and all the faults of real collections."""
    from figment.demo.art import make_demo_art

    make_demo_art(out, pictures=pictures, seed=seed)
    say(f"{out}: {pictures} pictures, truth.json, CREDITS.md")


@app.command(epilog=example("crop pictures/ -o heads/", "crop pictures/ -o heads/ --threshold 0.5"))
def crop(
    pictures: Pictures,
    output: Out,
    threshold: Threshold = None,
    margin: Annotated[float | None, typer.Option(help="Margin around a head, as a share of its longer side.")] = None,
    detector: Detector = None,
    engine: Engine = "local",
) -> None:
    """Find the heads in a folder of pictures and cut them out as squares."""
    from figment.heads.crop import crop_pictures

    options = {"threshold": threshold, "margin": margin, "detector": detector, "engine": engine}
    say(crop_pictures(pictures, output, **given(options)).line())


@app.command(epilog=example("curate heads/", "curate heads/ --min-size 96 --max-cut 0.2"))
@settings_of(Thresholds)
def curate(
    heads: Heads,
    workers: Annotated[int | None, typer.Option(help="Worker processes. Unset: one per core.")] = None,
    engine: Engine = "local",
    **thresholds: Any,
) -> None:
    """Accept or reject every head by rules. Nothing is deleted; run it again with other thresholds at any time."""
    from figment.curate.curate import curate as run_curate

    say(run_curate(heads, Thresholds(**thresholds), workers, engine).line())


@app.command(epilog=example("review heads/", "review heads/ --pictures pictures/", "review pictures/ --no-open"))
def review(
    heads: Annotated[Path, typer.Argument(help="A heads folder, or a folder of pictures to draw boxes on.")],
    pictures: Annotated[Path | None, typer.Option(help="The pictures that the heads came from, to draw boxes.")] = None,
    boxes: Annotated[Path | None, typer.Option(help="File to save boxes in. Unset: boxes.json in HEADS.")] = None,
    port: Annotated[int | None, typer.Option(help="Port on this machine. Unset: a free one from 7860 on.")] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
) -> None:
    """Review heads on a page in the browser: keep, reject, undo, compare duplicates, draw boxes."""
    from figment.curate.review import review as run_review

    run_review(heads, pictures=pictures, boxes=boxes, port=port, open_page=open_page)


@app.command(epilog=example("report heads/", "report heads/ -o report.html"))
def report(
    heads: Heads,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The HTML file. Unset: report.html in HEADS.")
    ] = None,
) -> None:
    """Write one HTML file that shows what was found, what was rejected and why, and what to do next."""
    from figment.curate.report import write_report

    say(write_report(heads, output).line())


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
    resolution: Side = None,
    form: Annotated[str, typer.Option("--format", help="zip, or tfrecord for a folder as StyleGAN's.")] = "zip",
    labels: Annotated[
        str | None,
        typer.Option(help="folders: the first subfolder is the class. Or a CSV of file,label or file,l0,l1,..."),
    ] = None,
    alpha: Annotated[
        str, typer.Option(help="keep makes RGBA images; otherwise the color to put behind transparent pixels.")
    ] = "white",
    upscale: Annotated[
        str,
        typer.Option(help="How to enlarge small heads: lanczos, a command with {in} and {out}, or none to skip them."),
    ] = "lanczos",
    shuffle: Annotated[bool, typer.Option(help="Write TFRecords in the original tool's shuffled order.")] = True,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes. Unset: one per core. The output is the same for any number.")
    ] = None,
) -> None:
    """Pack accepted heads into a data set for training. If interrupted, run the same command again to continue."""
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


# Head detectors --------------------------------------------------------------------------------------------------

heads_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Detect heads, tune the detector to your own art, and score it."
)
app.add_typer(heads_app, name="heads")


@heads_app.command(
    epilog=example(
        "heads detect pictures/ -o boxes.json",
        "heads detect pictures/ -o labels/",
        "heads detect pictures/ -o boxes.coco.json --detector anime-head.onnx",
    )
)
def detect(pictures: Pictures, output: Out, threshold: Threshold = None, detector: Detector = None) -> None:
    """Write the boxes of all heads: boxes.json with COCO beside it, COCO alone, or a folder of YOLO labels."""
    from figment.heads.detect import detect_folder, open_detector

    options = given({"threshold": threshold})
    boxes = detect_folder(pictures, output, detector=open_detector(detector), tell=say, **options)
    say(f"{output}: {sum(map(len, boxes.values()))} heads in {len(boxes)} pictures")


@heads_app.command(
    "train",
    epilog=example(
        "heads train boxes.json --pictures pictures/ -o mine.safetensors",
        "heads train labels/ --pictures pictures/ -o mine.safetensors --time 10m",
    ),
)
def train_detector(
    boxes: Annotated[Path, typer.Argument(help="Labels: boxes.json, COCO, or a folder of YOLO files.")],
    pictures: Annotated[Path, typer.Option(help="The folder that the paths in BOXES are relative to.")],
    output: Out,
    steps: Annotated[int, typer.Option(help="Training steps of eight augmented views each.")] = 400,
    time: Annotated[str | None, typer.Option(help="Time limit, e.g. 10m. Unset: all steps.")] = None,
    start: Annotated[Path | None, typer.Option(help="The detector to start from. Unset: the shipped one.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed; it also decides which pictures are held out.")] = 0,
) -> None:
    """Tune a detector to your own pictures: 50 labeled ones or more, minutes on a CPU."""
    from figment.heads.tune import tune

    sec = parse_duration(time) if time else None
    done = tune(boxes, pictures, output, start=start, steps=steps, sec=sec, seed=seed)
    say(
        f"{output}: trained on {done.trained} pictures; AP50 on the {done.held_out} held out: {done.before.ap50:.3f} "
        f"before, {done.after.ap50:.3f} after"
    )


@heads_app.command(
    "score",
    epilog=example(
        "heads score boxes.json truth.json",
        "heads score pictures/ truth.coco.json",
        "heads score pictures/ labels/ --detector mine.safetensors",
    ),
)
def score_detector(
    found: Annotated[Path, typer.Argument(help="Boxes in any format, or a folder of pictures to find them in.")],
    truth: Annotated[Path, typer.Argument(help="True boxes: boxes.json, COCO, YOLO labels, or demo art's truth.json.")],
    pictures: Annotated[Path | None, typer.Option(help="The pictures; YOLO labels need their sizes.")] = None,
    detector: Detector = None,
) -> None:
    """Print average precision, recall and precision of boxes compared with true ones."""
    from figment.heads.evaluate import evaluate

    for name, value in evaluate(found, truth, pictures=pictures, detector=detector):
        say(f"{name:<28}{value}")
