"""Fuse several passes over one image, at other sizes or mirrored, into one list of heads."""

from __future__ import annotations

from collections.abc import Sequence

from figment.base.records import Box

Scored = tuple[Box, float]
SAME = 0.6
"""Boxes of two passes show the same head from this intersection over union on."""


def fuse(
    looks: Sequence[Sequence[Scored]],  # boxes and scores of each pass, in pixels of the image
) -> list[Scored]:
    """Fuse boxes by weighted boxes fusion (Solovyev et al. 2019, arXiv 1910.13302).

    Boxes of one head are averaged with their scores as weights. The head's score is the mean over all passes, with 0
    for passes that missed it.
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
    """Return the mean of boxes, weighted by their scores."""
    total = sum(score for _, score in group)
    return Box(*(sum(box[i] * score for box, score in group) / total for i in range(4)))


def mirror_box(box: Box, width: int) -> Box:
    """Return the box after mirroring an image of `width` pixels."""
    return Box(width - box.x1, box.y0, width - box.x0, box.y1)
