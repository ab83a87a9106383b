"""Groups of crops that show the same picture: copies re-encoded, resized, recoloured, cut differently or mirrored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from figment.base.progress import track
from figment.curate.align import coarse, fine_difference, rough_difference
from figment.curate.index import near_embeddings, near_pairs
from figment.curate.prints import HASHES, SIDE, Prints
from figment.curate.recolour import find_turn, turn_hue

Item = TypeVar("Item", int, str)

FARTHEST = {"phash": 18, "dhash": 15, "vhash": 18, "bhash": 14}
"""Bits of 64 in which a pair may differ to be looked at, by any hash."""
ALIKE = 0.8
"""Cosine of two embeddings from which on a pair is looked at, whatever its hashes."""
COLOURS = 45.0
"""Mean difference of the 8 x 8 colours, 0 to 255, up to which a pair is looked at."""
TURNED = 24.0
"""The same after a turn of hue, which fits any two pictures a little."""
ROUGH = 6.0
"""Mean difference after alignment, 0 to 255, up to which a pair is looked at closely."""
WIDEST = 30.0
"""Largest difference at any spot, 0 to 255, that is reported; thresholds lie below it."""
BLOCK = 512
"""Rows, or pairs, that are compared at a time, which bounds the memory."""

Pair = tuple[int, int, float]


def find_pairs(
    prints: Prints,
) -> list[Pair]:
    """Pairs of crops that may show one picture: first, second (as indices into `prints`) and how much they differ.

    Hashes, embeddings and coarse colours can't tell two characters of one cartoon style from a copy that was cut
    differently, so they only name candidates; the thumbnails, laid over each other, give the difference: the largest
    at any spot, 0 to 255. Where the colours are no match, a turn of hue that makes them one is tried. Pairs above
    WIDEST are left out.
    """
    pairs = candidates(prints)
    colours = coarse_colours(prints)
    found: dict[tuple[int, int], float] = {}
    for at in track(range(0, len(pairs), BLOCK), "comparing"):
        block = pairs[at : at + BLOCK]
        first, second, mirrored = block.T
        one, two = colours[first].astype(np.float32), _mirror(colours[second].astype(np.float32), mirrored)
        apart = np.abs(one - two).mean((1, 2, 3))
        _compare(prints, block[apart <= COLOURS], found)

        # What is still open may be a recoloured copy, if it has colours at all.
        open_ = np.array([found.get((int(row[0]), int(row[1])), WIDEST) >= WIDEST / 2 for row in block], bool)
        open_ &= (apart > 2) & (np.minimum(np.ptp(one, -1).mean((1, 2)), np.ptp(two, -1).mean((1, 2))) > 4)
        # A turn loses what leaves the gamut, so only the original can be turned into the copy: try both.
        rest = block[open_]
        for turned, (degrees, ways, left) in enumerate(
            (find_turn(one[open_], two[open_]), find_turn(two[open_], one[open_]))
        ):
            fits = left <= TURNED
            _compare(prints, rest[fits], found, (turned == 0, degrees[fits], ways[fits]))
    return [(*pair, difference) for pair, difference in found.items()]


def join_groups(
    pairs: Iterable[tuple[Item, Item, float]],  # as `find_pairs` gives them, of anything that can be sorted
    limit: float,  # largest difference that two copies of a picture may have
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
    found = [np.zeros((0, 3), np.int64)]
    for name in HASHES:
        found.append(near_pairs(prints.hashes[name], FARTHEST[name], prints.hashes[f"{name}_mirror"])[:, :3])
    if prints.units is not None:
        near = near_embeddings(prints.units, ALIKE)
        found += [np.column_stack([near, np.full(len(near), mirrored)]) for mirrored in (0, 1)]
    return np.unique(np.concatenate(found), axis=0)


def coarse_colours(
    prints: Prints,
) -> np.ndarray:
    """The 8 x 8 mean colours of every crop, uint8 [N, 8, 8, 3]."""
    cell = SIDE // 8
    means = np.empty((len(prints), 8, 8, 3), np.uint8)
    for at in range(0, len(prints), BLOCK):
        thumbs = prints.thumbs[at : at + BLOCK].astype(np.float32)
        means[at : at + BLOCK] = thumbs.reshape(-1, 8, cell, 8, cell, 3).mean((2, 4)).round()  # [n, 8, 8, 3]
    return means


def _compare(
    prints: Prints,
    pairs: np.ndarray,  # [P, 3], at most a block of them
    found: dict[tuple[int, int], float],  # what is known so far, lowered where these are nearer
    turn: tuple[bool, np.ndarray, np.ndarray] | None = None,  # turn the second's (or first's) hue: degrees, ways
) -> None:
    """Lay the thumbnails of pairs over each other: first a rough look, then a close one at what that leaves."""
    if not len(pairs):
        return
    first, second, mirrored = pairs.T
    one, two = np.asarray(prints.thumbs[first]), _mirror(np.asarray(prints.thumbs[second]), mirrored)
    if turn is not None:
        turned = turn_hue(two if turn[0] else one, turn[1], turn[2]).round().astype(np.uint8)
        one, two = (one, turned) if turn[0] else (turned, two)
    # Begin with the crops as they are, and with the heads' boxes upon each other: a border may have shifted one crop.
    soft = coarse(one), coarse(two)
    difference, moves = rough_difference(*soft)
    boxed, box_moves = rough_difference(*soft, _from_boxes(prints.places[first], prints.places[second], mirrored))
    better = boxed < difference
    difference, moves = np.where(better, boxed, difference), np.where(better[:, None], box_moves, moves)
    near = difference <= ROUGH
    close = fine_difference(one[near], two[near], moves[near]) if near.any() else np.zeros(0)
    for (left, right, _), value in zip(pairs[near].tolist(), close.tolist(), strict=True):
        if value <= WIDEST:
            found[left, right] = min(round(value, 2), found.get((left, right), WIDEST))


def _from_boxes(
    first: np.ndarray,  # [P, 3] of `Prints.places`
    second: np.ndarray,  # [P, 3]
    mirrored: np.ndarray,  # 0 or 1 [P]: whether the second is to be mirrored
) -> np.ndarray:
    """The moves that lay the second's head upon the first's, by their boxes: float32 [P, 3]."""
    scale = np.clip(np.log(second[:, :1] / first[:, :1]), -0.4, 0.4)
    middle = second[:, 1:] * np.column_stack([1 - 2 * mirrored, np.ones(len(mirrored))])
    shift = np.clip(middle - first[:, 1:] * np.exp(scale), -0.6, 0.6)
    return np.concatenate([scale, shift], 1).astype(np.float32)


def _mirror(
    images: np.ndarray,  # [P, S, S, 3], a copy that may be written to
    mirrored: np.ndarray,  # 0 or 1 [P]
) -> np.ndarray:
    """The pictures, mirrored where asked."""
    turned = mirrored.astype(bool)
    images[turned] = images[turned, :, ::-1]
    return images
