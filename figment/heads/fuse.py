"""Several looks at one picture, at other sizes or mirrored, as one list of heads."""

from __future__ import annotations

from collections.abc import Sequence

from figment.base.records import Box

Scored = tuple[Box, float]
SAME = 0.6
"""Boxes of two looks are of one head at this intersection over union or more."""


def fuse(
    looks: Sequence[Sequence[Scored]],  # what each look found, boxes in pixels of the picture
) -> list[Scored]:
    """Weighted boxes fusion (Solovyev 2019): boxes of one head averaged by score, its score the mean over all looks.

    A look that missed the head counts as a score of zero: what only one look takes for a head is doubtful.
    """
    groups: list[list[Scored]] = []
    for box, score in sorted((found for look in looks for found in look), key=lambda found: -found[1]):
        group = next((group for group in groups if group[0][0].iou(box) >= SAME), None)
        if group is None:
            groups.append([(box, score)])
        elif len(group) < len(looks):
            group.append((box, score))
    return [(_mean(group), sum(score for _, score in group) / len(looks)) for group in groups]


def _mean(group: Sequence[Scored]) -> Box:
    """The mean of boxes, weighed by their scores."""
    total = sum(score for _, score in group)
    return Box(*(sum(box[i] * score for box, score in group) / total for i in range(4)))


def mirror_box(box: Box, width: int) -> Box:
    """The box in a picture of `width` pixels with left and right swapped."""
    return Box(width - box.x1, box.y0, width - box.x0, box.y1)
