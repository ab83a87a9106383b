"""How good a detector is: average precision, recall and precision of its boxes against true ones."""

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
    """The true heads of a folder of pictures."""

    heads: dict[str, list[Box]]
    """Those that should be found, for each picture."""
    ignored: dict[str, list[Box]] = field(default_factory=dict)
    """Heads that count neither as missed nor as false when found: those too small to use."""


@dataclass(frozen=True)
class Scores:
    """A detector's figures on one set of pictures."""

    ap50: float
    """Average precision, 0 to 1."""
    recall: float
    """Share of the true heads that were found, all scores counted."""
    precision: float
    """Share of the boxes that are heads, all scores counted."""
    recall_at_90: float
    """Recall at the lowest score down to which nine in ten boxes are heads."""
    heads: int
    """True heads."""
    boxes: int
    """Boxes that were found, without those on ignored heads."""


def score_boxes(
    found: Boxes,
    truth: Truth,
    iou: float = 0.5,  # a box finds a head at this intersection over union or more
) -> Scores:
    """Match boxes to true heads, best score first, each head once, and score them.

    Average precision is the area under the precision-recall curve after precision was made falling, with all
    points (the PASCAL VOC rule since 2010). Pictures that `truth` does not know are left out.
    """
    marked: list[tuple[float, bool]] = []
    for name, heads in truth.heads.items():
        marked += match_boxes(found.get(name, ()), heads, truth.ignored.get(name, ()), iou)
    heads_in_all = sum(map(len, truth.heads.values()))
    if not marked or not heads_in_all:
        return Scores(0.0, 0.0, 0.0, 0.0, heads_in_all, len(marked))

    # The curve, a point a box; boxes of one score enter together, so that their order does not matter.
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
    """(score, is a head) of each box of one picture, best first; boxes on ignored heads are left out."""
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
    """The score of a box, 1 where it has none."""
    return float(entry[4]) if len(entry) > 4 else 1.0


def read_truth(path: Path) -> Truth:
    """The true heads in demo art's truth.json: of its usable pictures, with the heads too small to use ignored."""
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
