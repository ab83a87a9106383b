"""Is a head cut off by the border of its picture, and by how much?"""

from __future__ import annotations

from figment.base.records import Head

NEAR = 0.02
"""A box this near to the border, as a share of its longer side, touches it."""
USUAL = 1.12
"""Height of a usual head through its width, hair included."""


def cut_share(
    head: Head,
    width: int | None,  # of the picture, in pixels; None: unknown
    height: int | None,
) -> float:
    """The share of a head that its picture's border cuts off, 0 to 1.

    A box that stays clear of the border is whole. One that reaches beyond it misses what lies outside. One that
    touches it misses what a head of usual proportions would have there: half a face is as high as a whole one and
    half as wide. A hat's tip at the upper border costs nothing by this, a face without its other half much.
    """
    if not width or not height:
        return 0.0
    box = head.box
    inside = max(0.0, min(box.x1, width) - max(box.x0, 0.0)) * max(0.0, min(box.y1, height) - max(box.y0, 0.0))
    outside = 1 - inside / max(box.width * box.height, 1e-9)

    near = NEAR * max(box.width, box.height)
    beside = box.x0 <= near or box.x1 >= width - near
    above = box.y0 <= near or box.y1 >= height - near
    missing = 0.0
    if beside:
        missing = 1 - box.width / max(box.height / USUAL, 1e-9)
    if above:
        missing = max(missing, 1 - box.height / max(box.width * USUAL, 1e-9))
    return round(min(1.0, max(outside, missing, 0.0)), 3)
