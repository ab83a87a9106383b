"""Fit the shipped detector to one's own art: 50 labelled pictures or more, minutes on a CPU.

    figment heads train boxes.json --pictures pictures/ -o mine.safetensors
    figment crop pictures/ -o heads/ --detector mine.safetensors

The network starts from the shipped weights and sees nothing but the labelled pictures, so it forgets other kinds of
art: a tuned detector is for its own collection. A share of the pictures is held out to tell what it gained.
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
from figment.base.pixels import open_image
from figment.base.progress import say
from figment.base.records import Box
from figment.heads.boxes import read_boxes
from figment.heads.detect import SHIPPED, Detector
from figment.heads.network import HeadNet, load_net, save_net
from figment.heads.score import Scores, Truth, score_boxes
from figment.heads.train import Step, TrainConfig, train_detector
from figment.heads.views import Scene

FEWEST = 10
"""Labelled pictures that tuning needs at least; 50 and more are better."""
HELD_OUT = 0.2
"""Share of the pictures that is kept for scoring."""
LARGEST = 720
"""Pictures are held at this longer side at most."""
LEAST_SCORE = 0.05
"""Boxes from this score on count when average precision is measured."""


@dataclass(frozen=True)
class Tuned:
    """What tuning came to."""

    trained: int
    """Pictures trained on."""
    held_out: int
    """Pictures scored on."""
    before: Scores
    """The network that was started from, on the held-out pictures."""
    after: Scores
    """The tuned one."""


def tune(
    boxes: Path,  # boxes.json, COCO or a folder of YOLO labels
    pictures: Path,  # the folder that its paths are relative to
    out: Path,  # the tuned detector
    *,
    start: Path | None = None,  # the detector to start from; None: the shipped one
    steps: int = 400,  # batches to train on
    sec: float | None = None,  # stop after so many seconds; None: after all steps
    seed: int = 0,
) -> Tuned:
    """Tune a detector on labelled pictures, write it to `out`, and score it before and after."""
    need_folder(pictures, "--pictures")
    labels = read_boxes(boxes, pictures)
    scenes = dict(_scenes(labels, pictures))
    if len(scenes) < FEWEST:
        raise FigmentError(
            f"BOXES {boxes}: {len(scenes)} of its pictures could be read below {pictures}; "
            f"tuning needs {FEWEST}, better 50"
        )

    # Every fifth picture, in an order that the seed decides, is kept aside.
    names = [str(name) for name in np.random.default_rng(seed).permutation(sorted(scenes))]
    count = max(round(len(names) * HELD_OUT), 2)
    aside, used = names[:count], names[count:]
    net = load_net(start or SHIPPED)
    before = score_net(net, {name: scenes[name] for name in aside})

    # Steps until the time is over; the pool holds all pictures for good.
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
    """Ends a training early."""


def _scenes(labels: dict[str, list[list[float]]], pictures: Path) -> Iterator[tuple[str, Scene]]:
    """Every labelled picture that can be read, at most LARGEST pixels long; the others are told."""
    for name, found in sorted(labels.items()):
        try:
            image = open_image(pictures / name)
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
    """The figures of a network on labelled pictures."""
    detector = Detector(copy.deepcopy(net))
    found = {
        name: [[*head.box, head.score] for head in detector.detect(image, LEAST_SCORE)]
        for name, (image, _) in scenes.items()
    }
    return score_boxes(found, Truth({name: list(heads) for name, (_, heads) in scenes.items()}))
