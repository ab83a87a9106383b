"""Output layouts of YOLO and its relatives, which look alike: decided by size and values, or refused.

    [1, 4 + classes, N]       YOLOv8, v9, v11, v12: center, size, a score per class; may be transposed
    [1, N, 5 + classes]       YOLOv5, v6, v7: center, size, objectness, a score per class; may be transposed
    [1, 300, 4 + classes]     RT-DETR: as YOLOv8's transposed, in shares of the input
    [1, N, 6]                 YOLOv10 and exports with NMS: corners, score, class
    [N, 7]                    YOLOv7 with NMS: index in the batch, corners, class, score

Coordinates are pixels of the input, or shares of it from 0 to 1. Layouts may end with more columns per box (keypoints,
mask coefficients), which are skipped.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
"""Strides of the grids that predict, in the models of the family."""
ANCHORS = 3
"""Predictions per cell of models with objectness, but for YOLOv6 and YOLOX."""
SHARE = 1.05
"""Coordinates of at most this are shares of the input: RT-DETR's are below 1, corners may reach out a little."""
PIXELS = 8
"""Raw predictions in pixels reach this in any case: they cover the whole input."""
CERTAIN = 0.05
"""Sizes of predictions with lower scores don't matter; a few variants let them be negative."""
EXPORT = "export it with YOLOv8 or later, whose file names the classes, or with NMS"


@dataclass(frozen=True)
class Layout:
    """One way to read an output."""

    axis: int
    """Axis of the columns in [1, A, B]: 1 or 2."""
    classes: int | None
    """Number of classes; None if it is unknown."""
    objectness: bool = False
    corners: bool = False
    """Corners, score and class, instead of center, size and a score per class."""

    def __str__(self) -> str:
        if self.corners:
            return "corners, score, class"
        scores = f"{self.classes} classes" if self.classes != 1 else "1 class"
        return f"center, size,{' objectness,' if self.objectness else ''} {scores}"


def read_output(
    answer: np.ndarray,  # float32 [1, A, B] or [N, 7]
    size: tuple[int, int],  # width and height of the input
    *,
    classes: int | None = None,  # number of classes; None if the file doesn't say
    more: int = 0,  # columns after those of the layout
    heads: Collection[int] = (),  # classes of heads; () means all
) -> tuple[np.ndarray, int | None]:
    """Return float32 [N, 6] (corners in pixels of the input, score and class), and the number of classes if known.

    Each row has its best class of `heads`. Raises ValueError with the reason for an output that fits no layout, or
    more than one.
    """
    if answer.ndim == 2 and answer.shape[1] == 7 and not answer[:, 0].any():
        answer = answer[None, :, [1, 2, 3, 4, 6, 5]]
        found = [Layout(2, classes, corners=True)]
    elif answer.ndim == 3 and answer.shape[0] == 1:
        found = find_layouts(answer.shape[1:], classes, more)
    else:
        found = []
    what = f"its output has shape {list(answer.shape)}"
    if not found:
        named = f" and its metadata names {classes} class{'es' * (classes > 1)}" if classes else ""
        raise ValueError(
            f"{what}{named}; must be YOLO's [1, 4 + classes, N], [1, N, 5 + classes] or [1, N, 6]: {EXPORT}"
        )
    if not np.isfinite(answer).all():
        raise ValueError(f"{what} with values that are not finite")
    if not answer.any():
        return np.zeros((0, 6), np.float32), classes

    # The values decide between layouts of one shape, and show scores and boxes that a layout can't have. A column of
    # whole numbers holds classes, not scores. Last, the number of predictions decides.
    table = {1: answer[0].T, 2: answer[0]}  # [N, columns]
    fitting = [layout for layout in found if fits(layout, table[layout.axis])]
    fitting = [layout for layout in fitting if layout.corners and layout.axis == 2] or fitting
    fitting = [layout for layout in fitting if is_exact(layout, answer.shape[3 - layout.axis], size)] or fitting
    if len(fitting) != 1:
        readings = " or ".join(f"({layout})" for layout in fitting or found)
        raise ValueError(f"{what}, {'could be' if fitting else 'but its values are not'} {readings}: {EXPORT}")
    (layout,) = fitting
    values = table[layout.axis]
    if layout.objectness and layout.classes == 1 and classes is None:
        # YOLOv7 names no classes, and doesn't train the score of a single one: objectness is its score.
        values = np.concatenate([values[:, :5], np.ones_like(values[:, :1])], 1)
    return to_rows(layout, values, size, heads), layout.classes


def find_layouts(
    shape: tuple[int, ...],  # A, B
    classes: int | None,
    more: int,
) -> list[Layout]:
    """Return the layouts that an output of this shape can have."""
    found = []
    for axis, columns in enumerate(shape, 1):
        for objectness in (False, True):
            count = columns - 4 - objectness - more
            if count >= 1 and classes in (None, count):
                found.append(Layout(axis, count, objectness))
        if columns == 6 + more:
            found.append(Layout(axis, classes, corners=True))
    return found


def is_exact(
    layout: Layout,
    count: int,  # number of predictions
    size: tuple[int, int],  # width and height of the input
) -> bool:
    """Return whether raw predictions in this layout come in this number, which differs between the families."""
    grids = {sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in strides) for strides in STRIDES}
    if layout.corners:
        return False
    if not layout.objectness:
        return count in grids
    return count in {ANCHORS * cells for cells in grids} or (layout.axis == 2 and count in grids)  # or YOLOv6


def fits(
    layout: Layout,
    table: np.ndarray,  # [N, columns]
) -> bool:
    """Return whether the values are boxes and scores in this layout."""
    if layout.corners:
        x0, y0, x1, y1, score, kind = table[:, :6].T  # each [N]
        least = layout.classes or np.inf
        whole = (kind == np.round(kind)) & (kind >= 0) & (kind < least)
        return bool(whole.all() and is_share(score) and (x1 >= x0).all() and (y1 >= y0).all())
    first = 4 + layout.objectness
    scores = table[:, 4 : first + (layout.classes or 0)]  # [N, objectness and classes]
    if not is_share(scores):
        return False
    boxes = table[:, :4]
    likely = scores.max(1) if not layout.objectness else scores[:, 0]
    if (boxes[likely > CERTAIN, 2:] < 0).any():
        return False
    return bool((boxes >= -(SHARE - 1)).all() and boxes.max() <= SHARE) or bool(boxes.max() >= PIXELS)


def is_share(values: np.ndarray) -> bool:
    """Return whether values are from 0 to 1, up to rounding of 8-bit networks."""
    return bool(values.min() >= -0.01 and values.max() <= 1.01)


def to_rows(
    layout: Layout,
    table: np.ndarray,  # [N, columns]
    size: tuple[int, int],  # width and height of the input
    heads: Collection[int],
) -> np.ndarray:
    """Return float32 [N, 6]: corners in pixels of the input, score and class."""
    boxes = table[:, :4]
    if boxes.max() <= SHARE:
        boxes = boxes * np.array([*size, *size], np.float32)
    if layout.corners:
        rows = np.concatenate([boxes, table[:, 4:6]], 1)
        return rows[np.isin(rows[:, 5], list(heads))] if heads else rows

    first = 4 + layout.objectness
    kinds = np.array(sorted(heads) if heads else range(layout.classes or 0))
    scores = table[:, first + kinds]  # [N, heads]
    if layout.objectness:
        scores = scores * table[:, 4:5]
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    columns = [middle - half, middle + half, scores.max(1)[:, None], kinds[scores.argmax(1)][:, None]]
    return np.concatenate(columns, 1).astype(np.float32)
