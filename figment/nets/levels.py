"""The levels of a network: their sizes in pixels and their widths in feature maps."""

from __future__ import annotations

import math


def level_sizes(
    resolution: int,  # the longer side of the picture
    start: tuple[int, int],  # height and width of the first block
) -> list[tuple[int, int]]:
    """Height and width of every block from `start` up to `resolution`, each twice the one before."""
    longest = max(start)
    doublings = round(math.log2(resolution / longest)) if resolution >= longest else -1
    if doublings < 0 or longest << doublings != resolution:
        raise ValueError(f"resolution {resolution}: must be {longest} times a power of two")
    return [(start[0] << k, start[1] << k) for k in range(doublings + 1)]


def level_widths(
    levels: int,  # blocks
    base: int,  # feature maps times resolution, where `most` is no limit
    most: int,  # feature maps of the widest blocks
    given: list[int] | None = None,  # feature maps of every block, the smallest first; None for the rule
) -> list[int]:
    """Feature maps of every block, the smallest block first."""
    if given is not None:
        if len(given) != levels:
            raise ValueError(f"widths {given}: must name {levels} blocks")
        return list(given)
    return [max(1, min(base // (4 << k), most)) for k in range(levels)]
