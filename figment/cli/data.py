"""From pictures to a data set: make, demo-art, crop, curate, review, report, pack, heads detect|train|score.

figment crop pictures/ -o heads/
figment curate heads/
figment pack heads/ -o heads.zip
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from figment.base.formats import ADVICE, advice
from figment.base.parse import parse_duration
from figment.base.progress import say
from figment.base.settings import SEED, STEPS, Rule, within
from figment.cli.app import Application, Device, app, example, given, output_option
from figment.cli.settings import must, settings_of
from figment.curate.verdicts import Thresholds
from figment.train.config import Schedule

WORKERS = within(1, 1000)
SHARE = Rule("between 0 and 1", lambda value: 0 < value < 1)
Pictures = Annotated[Path, typer.Argument(help="A folder of pictures.")]
Heads = Annotated[Path, typer.Argument(help="A heads folder made by `figment crop`.")]
Detector = Annotated[
    Path | None,
    typer.Option(
        help="Head detector to use: a file of `figment heads train`, or .onnx (YOLO, RT-DETR). Unset: the shipped one."
    ),
]
Engine = Annotated[
    str,
    typer.Option(help="Where to compute: local, or ray for a Ray cluster whose nodes all see the same folders."),
]
Side = Annotated[
    int | None,
    typer.Option(
        help="Side of the images in pixels: a power of two from 16 to 1024. Unset: the largest that half of the "
        "heads fill."
    ),
]


@app.command(epilog=example("make pictures/ -o hero/ --time 8h", "make pictures/ -o hero/ --kimg 2500"))
@settings_of(Schedule, only=("kimg", "seed"), show_defaults=False, first=("output", "time", "kimg"))
def make(
    pictures: Pictures,
    output: Annotated[
        Path, output_option("Folder for the heads, the data set, the run and the web page.", folder=True)
    ],
    time: Annotated[
        str | None,
        typer.Option(
            help="Training time, e.g. 8h or 90m; not used if --kimg is set. Unset: 8h on a GPU, 30m on a CPU."
        ),
    ] = None,
    resolution: Side = None,
    device: Device = None,
    **settings: Any,
) -> None:
    """Crop, curate, pack, train, draw and publish.

    Goes all the way from a folder of pictures to a web page of new characters. If interrupted, run the same command
    again to continue where it stopped.
    """
    from figment.make import MakeOptions
    from figment.make import make as run_make

    sec = parse_duration(time) if time is not None else None
    if sec is None and "kimg" not in settings:
        sec = parse_duration("30m" if device == "cpu" or not _has_gpu() else "8h")
    run_make(pictures, output, MakeOptions(sec=sec, resolution=resolution, device=device, **settings))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@app.command(epilog=example("demo-art pictures --pictures 400 --seed 0"))
def demo_art(
    out: Annotated[Path, typer.Argument(help="The folder to fill.")],
    pictures: Annotated[
        int, typer.Option(help="Number of pictures to draw.", callback=must(within(1, 10_000_000)))
    ] = 400,
    seed: Annotated[int, typer.Option(help="Random seed of the pictures.", callback=must(SEED))] = 0,
) -> None:
    """Draw demo pictures to practice on.

    They show characters and clutter, with all the faults of real collections; truth.json lists the true boxes.
    """
    from figment.demo.art import make_demo_art

    make_demo_art(out, pictures=pictures, seed=seed)
    say(f"{out}: {pictures} pictures, truth.json, CREDITS.md")


@app.command(epilog=example("crop pictures/ -o heads/", "crop pictures/ -o heads/ --threshold 0.5"))
def crop(
    pictures: Pictures,
    output: Annotated[Path, output_option("Folder for the heads and their catalog.", folder=True)],
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Lowest confidence of a head, from 0 to 1; higher values find fewer heads. Unset: 0.45.",
            callback=must(SHARE),
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="Margin on each side of a head, as a share of its longer side. Unset: 0.25."),
    ] = None,
    detector: Detector = None,
    engine: Engine = "local",
) -> None:
    """Cut the heads out of a folder of pictures.

    A detector finds the heads, and each one is saved as a square image.
    """
    from figment.heads.crop import crop_pictures

    options = {"threshold": threshold, "margin": margin, "detector": detector, "engine": engine}
    summary = crop_pictures(pictures, output, **given(options))
    say(summary.line())
    for reason in sorted(summary.bad.keys() & ADVICE.keys()):
        say(f"{reason}: {advice(reason)}")


@app.command(epilog=example("curate heads/", "curate heads/ --min-size 96 --max-cut 0.2"))
@settings_of(Thresholds)
def curate(
    heads: Heads,
    workers: Annotated[
        int | None, typer.Option(help="Number of worker processes. Unset: one per core.", callback=must(WORKERS))
    ] = None,
    engine: Engine = "local",
    **thresholds: Any,
) -> None:
    """Accept or reject every head by rules.

    No file is deleted; run it again with other thresholds at any time.
    """
    from figment.curate.curate import curate as run_curate

    say(run_curate(heads, Thresholds(**thresholds), workers, engine).line())


@app.command(epilog=example("review heads/", "review heads/ --pictures pictures/", "review pictures/ --no-open"))
def review(
    heads: Annotated[Path, typer.Argument(help="A heads folder, or a folder of pictures to draw boxes on.")],
    pictures: Annotated[
        Path | None, typer.Option(help="The pictures that the heads were cropped from, to draw boxes on as well.")
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="File to save drawn boxes in. Unset: boxes.json in the heads folder.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the page. Unset: the first free one from 7860 on.")] = None,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser, or only print its address.")
    ] = True,
) -> None:
    """Review heads on a page in the browser.

    Keep or reject heads, undo, compare duplicates, and draw boxes. Every decision is saved at once.
    """
    from figment.curate.review import review as run_review

    run_review(heads, pictures=pictures, boxes=boxes, port=port, open_page=open_page)


@app.command(epilog=example("report heads/", "report heads/ -o report.html"))
def report(
    heads: Heads,
    output: Annotated[
        Path | None, output_option("HTML file to write. Unset: report.html in the heads folder.", folder=False)
    ] = None,
) -> None:
    """Write an HTML report of a heads folder.

    It shows what was found, what was rejected and why, and what to do next, all in one file.
    """
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
    output: Annotated[Path, output_option("Zip file to write, or a new folder with --format tfrecord.")],
    resolution: Side = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="zip of PNGs as for StyleGAN2 and 3, or tfrecord for a folder of TFRecords as for StyleGAN.",
        ),
    ] = "zip",
    labels: Annotated[
        str | None,
        typer.Option(
            help="Where class labels come from: folders (the top subfolder is the class), or a table (.csv, .tsv) with "
            "lines of file,label or file,number,number,... Unset: no labels."
        ),
    ] = None,
    alpha: Annotated[
        str,
        typer.Option(help="Color to put behind transparent pixels, or keep for RGBA images."),
    ] = "white",
    upscale: Annotated[
        str,
        typer.Option(
            help="How to enlarge heads smaller than the resolution: lanczos, a command with {in} and {out}, or none "
            "to leave these heads out."
        ),
    ] = "lanczos",
    shuffle: Annotated[
        bool, typer.Option(help="With --format tfrecord: shuffle the images in the same order as StyleGAN's own tool.")
    ] = True,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Number of worker processes, which does not change the output. Unset: one per core.",
            callback=must(WORKERS),
        ),
    ] = None,
) -> None:
    """Pack accepted heads into a data set for training.

    A folder of pictures that `figment crop` did not make is packed whole, each picture cropped to its central square.
    If interrupted, run the same command again to continue.
    """
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
    for line in summary.notes:
        say(line)
    larger = f", {summary.enlarged} of them enlarged" if summary.enlarged else ""
    say(f"{output}: {summary.packed} heads at {summary.resolution}x{summary.resolution}{larger}")


# Head detectors --------------------------------------------------------------------------------------------------

heads_app = Application(
    no_args_is_help=True, rich_markup_mode=None, help="Detect heads, and tune or score the detector."
)
app.add_typer(heads_app, name="heads")


@heads_app.command(
    epilog=example(
        "heads detect pictures/ -o boxes.json",
        "heads detect pictures/ -o labels/",
        "heads detect pictures/ -o boxes.coco.json --detector anime-head.onnx",
    )
)
def detect(
    pictures: Pictures,
    output: Annotated[
        Path,
        output_option(
            "NAME.json (COCO is written beside it as NAME.coco.json), NAME.coco.json for COCO alone, or a folder for "
            "YOLO labels."
        ),
    ],
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Lowest confidence of a head, from 0 to 1; higher values find fewer heads. Unset: 0.3.",
            callback=must(SHARE),
        ),
    ] = None,
    detector: Detector = None,
) -> None:
    """Write the boxes of all heads to a file.

    Formats are figment's boxes.json, COCO and YOLO.
    """
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
    boxes: Annotated[Path, typer.Argument(help="The true boxes: boxes.json, COCO, or a folder of YOLO labels.")],
    pictures: Annotated[
        Path, typer.Option(help="Folder of the pictures; the paths in the boxes file are relative to it.")
    ],
    output: Annotated[Path, output_option("File for the tuned detector.", folder=False)],
    steps: Annotated[
        int, typer.Option(help="Number of training steps, of eight augmented views each.", callback=must(STEPS))
    ] = 400,
    time: Annotated[str | None, typer.Option(help="Stop after this time, e.g. 10m. Unset: after all steps.")] = None,
    start: Annotated[Path | None, typer.Option(help="Detector to start from. Unset: the shipped one.")] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Random seed. It also decides which pictures are held out to measure the result.", callback=must(SEED)
        ),
    ] = 0,
) -> None:
    """Tune a detector to your own pictures.

    Give it 50 pictures or more with their true boxes. It takes minutes on a CPU. Boxes belong to the upright picture,
    as EXIF turns it. Of several classes, those called head count, else those called face.
    """
    from figment.heads.tune import tune

    sec = parse_duration(time) if time is not None else None
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
    found: Annotated[
        Path, typer.Argument(help="Boxes to score: boxes.json, COCO or YOLO labels; or pictures to detect them in.")
    ],
    truth: Annotated[Path, typer.Argument(help="True boxes: boxes.json, COCO, YOLO labels, or demo art's truth.json.")],
    pictures: Annotated[Path | None, typer.Option(help="Folder of the pictures; needed for YOLO labels.")] = None,
    detector: Detector = None,
) -> None:
    """Score detected boxes against true ones.

    Prints average precision (AP), recall and precision. Boxes are read as in `heads train`.
    """
    from figment.heads.evaluate import evaluate

    for name, value in evaluate(found, truth, pictures=pictures, detector=detector):
        say(f"{name:<28}{value}")
