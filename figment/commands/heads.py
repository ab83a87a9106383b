"""Head detectors: heads detect, heads train, heads score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.base.parse import parse_duration
from figment.base.progress import say
from figment.commands.app import Out, app, example, given

heads = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Detect heads, fit the detector to one's own art, score it."
)
app.add_typer(heads, name="heads")

Pictures = Annotated[Path, typer.Option(help="The folder that the paths in BOXES are relative to.")]
DetectorFile = Annotated[Path | None, typer.Option(help="A detector, or an ONNX export; unset: the shipped one.")]


@heads.command(
    epilog=example(
        "heads detect pictures/ -o boxes.json",
        "heads detect pictures/ -o labels/",
        "heads detect pictures/ -o boxes.coco.json --detector anime-head.onnx",
    )
)
def detect(
    pictures: Annotated[Path, typer.Argument(help="The folder of pictures.")],
    output: Out,
    threshold: Annotated[float | None, typer.Option(help="Least confidence of a head, 0 to 1.")] = None,
    detector: DetectorFile = None,
) -> None:
    """Boxes of all heads as boxes.json (and COCO beside it), as COCO, or as a folder of YOLO labels."""
    from figment.heads.detect import detect_folder, open_detector

    boxes = detect_folder(
        pictures, output, detector=open_detector(detector), tell=say, **given({"threshold": threshold})
    )
    say(f"{output}: {sum(map(len, boxes.values()))} heads in {len(boxes)} pictures")


@heads.command(
    epilog=example(
        "heads train boxes.json --pictures pictures/ -o mine.safetensors",
        "heads train labels/ --pictures pictures/ -o mine.safetensors --time 10m",
    )
)
def train(
    boxes: Annotated[Path, typer.Argument(help="Labels: boxes.json, COCO, or a folder of YOLO files.")],
    pictures: Pictures,
    output: Out,
    steps: Annotated[int, typer.Option(help="Batches of eight views to train on.")] = 400,
    time: Annotated[str | None, typer.Option(help="Stop after this time, e.g. 10m; unset: after all steps.")] = None,
    start: Annotated[Path | None, typer.Option(help="The detector to start from; unset: the shipped one.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed holds out other pictures.")] = 0,
) -> None:
    """Fit a detector to one's own pictures: 50 labelled ones or more, minutes on a CPU."""
    from figment.heads.tune import tune

    sec = parse_duration(time) if time else None
    done = tune(boxes, pictures, output, start=start, steps=steps, sec=sec, seed=seed)
    say(
        f"{output}: trained on {done.trained} pictures; on the {done.held_out} held out AP50 {done.before.ap50:.3f} "
        f"before, {done.after.ap50:.3f} after"
    )


@heads.command(
    epilog=example(
        "heads score boxes.json truth.json",
        "heads score pictures/ truth.coco.json",
        "heads score pictures/ labels/ --detector mine.safetensors",
    )
)
def score(
    found: Annotated[Path, typer.Argument(help="Boxes in any format, or a folder of pictures to find them in.")],
    truth: Annotated[Path, typer.Argument(help="True boxes: boxes.json, COCO, YOLO labels, or demo art's truth.json.")],
    pictures: Annotated[Path | None, typer.Option(help="The pictures, where YOLO labels need their sizes.")] = None,
    detector: DetectorFile = None,
) -> None:
    """Average precision, recall and precision of boxes against true ones."""
    from figment.heads.judge import judge

    for name, value in judge(found, truth, pictures=pictures, detector=detector):
        say(f"{name:<28}{value}")
