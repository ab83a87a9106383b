"""Metrics of a detector: average precision, recall and precision of its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError
from figment.base.files import read_json
from figment.base.records import Box
from figment.heads.boxes import Boxes


@dataclass(frozen=True)
class Truth:
    """The true heads of a set of images."""

    heads: dict[str, list[Box]]
    """Heads that should be found, by image."""
    ignored: dict[str, list[Box]] = field(default_factory=dict)
    """Heads, too small to use, that count neither as missed nor as false positives."""


@dataclass(frozen=True)
class Scores:
    """Metrics on one set of images."""

    ap50: float
    """Average precision at an intersection over union of 0.5, from 0 to 1."""
    recall: float
    """Share of the true heads that were found, at any score."""
    precision: float
    """Share of the boxes that are heads, at any score."""
    recall_at_90: float
    """Highest recall at a precision of 0.9 or more."""
    heads: int
    """Number of true heads."""
    boxes: int
    """Number of boxes, without those on ignored heads."""


def score_boxes(
    found: Boxes,
    truth: Truth,
    iou: float = 0.5,  # least intersection over union of a match
) -> Scores:
    """Match boxes to true heads, best score first and each head once, and return the metrics.

    Average precision is the area under the precision-recall curve with monotonically decreasing precision, using all
    points (the PASCAL VOC rule since 2010). Images that are not in `truth` are left out.
    """
    marked: list[tuple[float, bool]] = []
    for name, heads in truth.heads.items():
        marked += match_boxes(found.get(name, ()), heads, truth.ignored.get(name, ()), iou)
    heads_in_all = sum(map(len, truth.heads.values()))
    if not marked or not heads_in_all:
        return Scores(0.0, 0.0, 0.0, 0.0, heads_in_all, len(marked))

    # One point of the curve per score, so that the order of boxes with equal scores doesn't matter.
    score = np.array([score for score, _ in marked])
    order = np.argsort(-score, kind="stable")
    last_of_score = np.append(np.diff(score[order]) != 0, True)
    hits = np.cumsum([marked[i][1] for i in order])[last_of_score]
    seen = np.arange(1, len(marked) + 1)[last_of_score]
    recall, precision = hits / heads_in_all, hits / seen

    falling = np.maximum.accumulate(precision[::-1])[::-1]
    ap = float(np.sum(np.diff(np.concatenate([[0.0], recall])) * falling))
    at_90 = float(recall[precision >= 0.9].max(initial=0.0))
    return Scores(ap, float(recall[-1]), float(precision[-1]), at_90, heads_in_all, len(marked))


def match_boxes(
    boxes: Sequence[Sequence[float]],  # [x0, y0, x1, y1, score]; a missing score counts as 1
    heads: Sequence[Box],
    ignored: Sequence[Box],
    iou: float = 0.5,
) -> list[tuple[float, bool]]:
    """Return (score, is a head) of each box of one image, best first, without boxes on ignored heads."""
    free = list(heads)
    marked = []
    for entry in sorted(boxes, key=lambda entry: -_score_of(entry)):
        box = Box(*entry[:4])
        best = max(free, key=box.iou, default=None)
        if best is not None and box.iou(best) >= iou:
            free.remove(best)
            marked.append((_score_of(entry), True))
        elif not any(box.iou(other) >= iou for other in ignored):
            marked.append((_score_of(entry), False))
    return marked


def _score_of(entry: Sequence[float]) -> float:
    """Return the score of a box; 1 if it has no score."""
    return float(entry[4]) if len(entry) > 4 else 1.0


def read_truth(path: Path) -> Truth:
    """Return the true heads of the usable images in demo art's truth.json; heads too small to use are ignored.

    Raises FigmentError that names the file for other content.
    """
    value = read_json(path)
    try:
        heads: dict[str, list[Box]] = {}
        ignored: dict[str, list[Box]] = {}
        for name, row in value["pictures"].items():
            if not row["usable"]:
                continue
            small = row.get("too_small") or [False] * len(row["boxes"])
            pairs = [(Box(*map(float, box)), bool(tiny)) for box, tiny in zip(row["boxes"], small, strict=True)]
            heads[name] = [box for box, tiny in pairs if not tiny]
            ignored[name] = [box for box, tiny in pairs if tiny]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FigmentError(f"{path}: not a truth.json of demo art ({type(error).__name__}: {error})") from None
    return Truth(heads, ignored)
