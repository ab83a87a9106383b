"""Groups of crops that show the same picture: copies re-encoded, resized, cut a little differently or mirrored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from figment.base.progress import track
from figment.curate.align import coarse, fine_difference, rough_difference
from figment.curate.prints import HASHES, SIDE, Prints

Item = TypeVar("Item", int, str)

FARTHEST = {"phash": 18, "dhash": 15}
"""Bits of 64 in which a pair may differ to be looked at, by either hash."""
COLOURS = 30.0
"""Mean difference of the 8 x 8 colours, 0 to 255, up to which a pair is looked at."""
ROUGH = 4.5
"""Mean difference after alignment, 0 to 255, up to which a pair is looked at closely."""
WIDEST = 30.0
"""Largest difference at any spot, 0 to 255, that is reported; thresholds lie below it."""
BLOCK = 512
"""Rows, or pairs, that are compared at a time, which bounds the memory."""


def find_pairs(
    prints: Prints,
) -> list[tuple[int, int, float]]:
    """Pairs of crops that may show one picture: first, second (as indices into `prints`) and how much they differ.

    Hashes and coarse colours alone can't tell two characters of one cartoon style from a copy that was cut
    differently, so they only name candidates; the thumbnails, laid over each other, give the difference: the largest
    at any spot, 0 to 255. Pairs above WIDEST are left out.
    """
    likely, moves = roughly_alike(prints, candidates(prints))
    pairs: dict[tuple[int, int], float] = {}
    blocks = [slice(at, at + BLOCK) for at in range(0, len(likely), BLOCK)]
    for block in track(blocks, "comparing"):
        first, second, mirrored = likely[block].T
        difference = fine_difference(prints.thumbs[first], _turn(prints.thumbs[second], mirrored), moves[block])
        for index in np.flatnonzero(difference <= WIDEST):
            pair, found = (int(first[index]), int(second[index])), round(float(difference[index]), 2)
            pairs[pair] = min(found, pairs.get(pair, found))
    return [(*pair, found) for pair, found in pairs.items()]


def join_groups(
    pairs: Iterable[tuple[Item, Item, float]],    # as `find_pairs` gives them, of anything that can be sorted
    limit: float,                                 # largest difference that two copies of a picture may have
) -> list[list[Item]]:
    """The groups that pairs within `limit` hang together in, each in rising order (union-find)."""
    parent: dict[Item, Item] = {}

    def root(item: Item) -> Item:
        while parent.setdefault(item, item) != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for first, second, difference in pairs:
        if difference <= limit:
            parent[root(first)] = root(second)
    groups: dict[Item, list[Item]] = {}
    for item in sorted(parent):
        groups.setdefault(root(item), []).append(item)
    return list(groups.values())


def candidates(
    prints: Prints,
) -> np.ndarray:
    """Pairs that may be copies: int64 [P, 3] of first, second (first < second) and whether the second is mirrored."""
    thumbs = prints.thumbs.astype(np.float32)
    cell = SIDE // 8
    colours = thumbs.reshape(-1, 8, cell, 8, cell, 3).mean((2, 4))          # [N, 8, 8, 3]
    flipped = colours[:, :, ::-1].reshape(len(prints), 8 * 8 * 3)                  # [N, 192]
    colours = colours.reshape(len(prints), 8 * 8 * 3)
    found = [np.zeros((0, 3), np.int64)]
    for start in range(0, len(prints), BLOCK):
        for mirrored, others in ((0, colours), (1, flipped)):
            first, second = _near_hashes(prints, start, "_mirror" if mirrored else "")
            for at in range(0, len(first), 16 * BLOCK):
                one, two = first[at:at + 16 * BLOCK], second[at:at + 16 * BLOCK]
                near = np.abs(colours[one] - others[two]).mean(1) <= COLOURS
                found.append(np.stack([one[near], two[near], np.full(near.sum(), mirrored)], 1))
    return np.concatenate(found)


def _near_hashes(
    prints: Prints,
    start: int,     # the block's first row
    side: str,      # "" or "_mirror": which hash of the second crop is compared
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of a block of rows with all later rows that are near by any hash: first and second, int64."""
    near = np.zeros((min(BLOCK, len(prints) - start), len(prints) - start), bool)
    for name in HASHES:
        rows = prints.hashes[name][start:start + BLOCK]
        bits = np.bitwise_count(rows[:, None] ^ prints.hashes[name + side][None, start:])
        near |= bits <= FARTHEST[name]
    first, second = np.nonzero(np.triu(near, 1))
    return first + start, second + start


def roughly_alike(
    prints: Prints,
    pairs: np.ndarray,    # as `candidates` gives them
) -> tuple[np.ndarray, np.ndarray]:
    """Those pairs that a rough look does not rule out, and the moves [P, 3] that lay the second over the first."""
    small = coarse(prints.thumbs)
    likely, found = [np.zeros((0, 3), np.int64)], [np.zeros((0, 3), np.float32)]
    for at in range(0, len(pairs), BLOCK):
        block = pairs[at:at + BLOCK]
        first, second, mirrored = block.T
        difference, moves = rough_difference(small[first], _turn(small[second], mirrored))
        near = difference <= ROUGH
        likely.append(block[near])
        found.append(moves[near])
    return np.concatenate(likely), np.concatenate(found)


def _turn(
    images: np.ndarray,      # [P, S, S] or [P, S, S, 3], a copy that may be written to
    mirrored: np.ndarray,    # 0 or 1 [P]
) -> np.ndarray:
    """The pictures, mirrored where asked."""
    turned = mirrored.astype(bool)
    images[turned] = images[turned, :, ::-1]
    return images
