"""Fine-tune the shipped detector on your own art: 50 or more labeled images, minutes on a CPU.

    figment heads train boxes.json --pictures pictures/ -o mine.safetensors
    figment crop pictures/ -o heads/ --detector mine.safetensors

Training starts from the shipped weights and uses only the labeled images, so the network forgets other kinds of art: a
tuned detector is for its own collection. A share of the images is held out to measure the gain.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import need_folder
from figment.base.pictures import named
from figment.base.pixels import open_image
from figment.base.progress import say
from figment.base.records import Box
from figment.heads.boxes import read_boxes
from figment.heads.detect import Detector
from figment.heads.metrics import Scores, Truth, score_boxes
from figment.heads.network import SHIPPED, HeadNet, load_net, save_net
from figment.heads.train import Step, TrainConfig, train_detector
from figment.heads.views import Scene

FEWEST = 10
"""Fewest labeled images for fine-tuning; 50 or more are better."""
HELD_OUT = 0.2
"""Share of the images that is held out for evaluation."""
LARGEST = 720
"""Largest longer side of an image in memory, in pixels."""
LEAST_SCORE = 0.05
"""Lowest score of boxes for average precision."""


@dataclass(frozen=True)
class Tuned:
    """Result of fine-tuning."""

    trained: int
    """Number of training images."""
    held_out: int
    """Number of held-out images."""
    before: Scores
    """Metrics of the start network on the held-out images."""
    after: Scores
    """Metrics of the tuned network on the held-out images."""


def tune(
    boxes: Path,  # boxes.json, COCO or a folder of YOLO labels
    pictures: Path,  # folder of the images, to which paths in `boxes` are relative
    out: Path,  # file of the tuned detector
    *,
    start: Path | None = None,  # detector to start from; None means the shipped one
    steps: int = 400,  # batches
    sec: float | None = None,  # time limit in seconds; None for no limit
    seed: int = 0,
) -> Tuned:
    """Fine-tune a detector on labeled images, write it to `out`, and evaluate it before and after.

    Raises FigmentError for too few images or boxes that can't be read.
    """
    need_folder(pictures, "--pictures")
    net = load_net(start or SHIPPED, "--start")
    labels = read_boxes(boxes, pictures)
    if not any(labels.values()):
        raise FigmentError(f"BOXES {boxes}: holds no box; tuning needs pictures with heads")
    scenes = dict(_scenes(labels, pictures))
    if len(scenes) < FEWEST:
        raise FigmentError(
            f"BOXES {boxes}: {len(scenes)} of its pictures could be read below {pictures}; "
            f"tuning needs {FEWEST}, better 50"
        )

    # Hold out a random fifth of the images.
    names = [str(name) for name in np.random.default_rng(seed).permutation(sorted(scenes))]
    count = max(round(len(names) * HELD_OUT), 2)
    aside, used = names[:count], names[count:]
    before = score_net(net, {name: scenes[name] for name in aside})

    # Train until the steps or the time are over, with all images in the pool.
    end = math.inf if sec is None else time.monotonic() + sec
    config = TrainConfig(steps=steps, batch=8, rate=5e-4, fresh=0, pool=len(used), ema=0.99, seed=seed)
    kept: list[HeadNet] = []

    def watch(step: Step) -> None:
        kept[:] = [step.net]
        if time.monotonic() > end:
            raise _OutOfTime

    try:
        tuned = train_detector([scenes[name] for name in used], config=config, start=net, on_step=watch)
    except _OutOfTime:
        tuned = kept[0]
    save_net(
        out,
        tuned,
        {
            "trained_on": f"{len(used)} pictures of {pictures.name}, from figment's detector",
            "license": "as those pictures'",
        },
    )
    return Tuned(len(used), len(aside), before, score_net(tuned, {name: scenes[name] for name in aside}))


class _OutOfTime(Exception):
    """Ends training at the time limit."""


def _scenes(labels: dict[str, list[list[float]]], pictures: Path) -> Iterator[tuple[str, Scene]]:
    """Yield every labeled image that can be read, scaled to at most LARGEST pixels; the others are reported."""
    for name, found in sorted(labels.items()):
        try:
            image = open_image(named(pictures, name))
        except UnreadableImage as error:
            say(f"left out: {error}")
            continue
        scale = min(1.0, LARGEST / max(image.size))
        if scale < 1:
            size = (round(image.width * scale), round(image.height * scale))
            image = image.resize(size, Image.Resampling.BOX)
        yield name, (image, [Box(*(value * scale for value in box[:4])) for box in found])


@torch.no_grad()
def score_net(net: HeadNet, scenes: dict[str, Scene]) -> Scores:
    """Return the metrics of a network on labeled images."""
    detector = Detector(copy.deepcopy(net))
    found = {
        name: [[*head.box, head.score] for head in detector.detect(image, LEAST_SCORE)]
        for name, (image, _) in scenes.items()
    }
    return score_boxes(found, Truth({name: list(heads) for name, (_, heads) in scenes.items()}))
