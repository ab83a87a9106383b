"""Do two thumbnails show the same picture? Lay one over the other, then look for the spot where they differ most."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, minimum_filter, uniform_filter

Floats = np.ndarray
"""float32 unless said otherwise."""

REACH = 0.25
"""Largest shift (in half sides) and change of size (as a logarithm) that is looked for, from where it begins."""
OVERLAP = 0.5
"""Least share of a picture that the other must cover to be compared with it."""
EDGE = 4
"""Pixels along the edges of a thumbnail that are not compared: another crop may not hold them."""
SLOPE = 0.35
"""A difference is pardoned where it is less than this many pixels' worth of the picture's own slope."""


def align(
    fixed: Floats,  # grey [P, S, S]
    moving: Floats,  # grey [P, S, S]
    start: Floats | None = None,  # [P, 3] to begin with; None: begin with no change
    steps: int = 6,
) -> Floats:
    """Size and shift that lay each `moving` over its `fixed`: [P, 3] of log scale, x and y in half sides.

    Gauss-Newton steps with the fixed picture's derivatives, so that they are worked out once: the inverse
    compositional method of Baker and Matthews 2004, "Lucas-Kanade 20 years on".
    """
    pairs, side = fixed.shape[:2]
    begin = np.zeros((pairs, 3), np.float32) if start is None else start
    moves = begin.copy()
    place = _places(side)

    # How each pixel of the fixed picture changes with size and shift; the outermost ones have no say.
    slope_y, slope_x = np.gradient(fixed, 2 / side, axis=(1, 2))
    inner = (np.abs(place) < 0.9).astype(np.float32)
    weight = (inner[:, None] * inner[None, :])[None, :, :, None]
    by_size = slope_x * place[None, None, :] + slope_y * place[None, :, None]
    slopes = np.stack([by_size, slope_x, slope_y], -1) * weight  # [P, S, S, 3]
    slopes = slopes.reshape(pairs, side * side, 3)  # [P, S*S, 3]
    normal = slopes.transpose(0, 2, 1) @ slopes + np.eye(3, dtype=np.float32) * (side * side * 1e-3)

    for _ in range(steps):
        error = (warp(moving[..., None], moves)[..., 0] - fixed) * covered(moves, side)
        error = error.reshape(pairs, -1, 1)  # [P, S*S, 1]
        step = np.linalg.solve(normal, slopes.transpose(0, 2, 1) @ error)[..., 0]  # [P, 3]
        moves[:, 1:] -= np.exp(moves[:, :1] - step[:, :1]) * step[:, 1:]
        moves[:, 0] -= step[:, 0]
        moves = np.clip(moves, begin - REACH, begin + REACH)
    return moves


def warp(
    images: Floats,  # [P, S, S, C]
    moves: Floats,  # [P, 3] as `align` gives them
) -> Floats:
    """The pictures moved, sampled bilinearly; what lies beyond an edge repeats it."""
    pairs, side, _, channels = images.shape
    scale = np.exp(moves[:, :1])
    axes = []
    for shift in (moves[:, 1:2], moves[:, 2:3]):
        at = (_places(side)[None] * scale + shift + 1) / 2 * side - 0.5  # [P, S] in pixels
        at = np.clip(at, 0, side - 1.001)
        whole = at.astype(np.int64)
        axes.append((whole, (at - whole).astype(np.float32)))
    (x, right), (y, below) = axes

    # Down first, by whole rows, then across.
    pair = np.arange(pairs)[:, None]
    below = below[:, :, None, None]
    rows = images[pair, y] * (1 - below) + images[pair, y + 1] * below  # [P, S, S, C]
    column = np.broadcast_to(x[:, None, :, None], (pairs, side, side, channels))
    right = right[:, None, :, None]
    left_part = np.take_along_axis(rows, column, 2) * (1 - right)
    return np.asarray(left_part + np.take_along_axis(rows, column + 1, 2) * right)


def covered(
    moves: Floats,  # [P, 3] as `align` gives them
    side: int,
) -> np.ndarray:
    """Where a moved picture has pixels of its own to show, bool [P, S, S]."""
    at = _places(side)[None] * np.exp(moves[:, :1])
    across, down = (np.abs(at + moves[:, axis : axis + 1]) <= 1 for axis in (1, 2))  # [P, S]
    return np.asarray(down[:, :, None] & across[:, None, :])


def _places(side: int) -> Floats:
    """The pixels' centres along an axis, from -1 to 1."""
    return (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1


def coarse(
    thumbs: np.ndarray,  # uint8 [N, S, S, 3]
) -> Floats:
    """Soft grey pictures of a third of the size, [N, S/3, S/3]: soft, so that shifts of part of a pixel do no harm."""
    grey = gaussian_filter(thumbs.astype(np.float32).mean(-1), (0, 3.6, 3.6))
    count, side = grey.shape[:2]
    return np.asarray(grey.reshape(count, side // 3, 3, side // 3, 3).mean((2, 4)))


def rough_difference(
    fixed: Floats,  # [P, S, S] from `coarse`
    moving: Floats,  # [P, S, S] from `coarse`
    start: Floats | None = None,  # [P, 3] to begin with; None: begin with no change
) -> tuple[Floats, Floats]:
    """The mean difference of coarse pictures, 0 to 255 [P], and the moves that brought it about [P, 3]."""
    moves = align(fixed, moving, start, steps=5)
    seen = covered(moves, fixed.shape[1])[:, 2:-2, 2:-2]
    error = np.abs(warp(moving[..., None], moves)[..., 0] - fixed)[:, 2:-2, 2:-2] * seen
    share = seen.mean((1, 2))
    return np.where(share >= OVERLAP, error.mean((1, 2)) / np.maximum(share, OVERLAP), 255.0), moves


def fine_difference(
    fixed: np.ndarray,  # uint8 [P, S, S, 3]
    moving: np.ndarray,  # uint8 [P, S, S, 3]
    moves: Floats,  # [P, 3], from `rough_difference`
) -> Floats:
    """The largest difference at any spot of 3 x 3 pixels, 0 to 255 [P], after laying one picture over the other.

    The mean would not do: two cartoon heads may share everything but the mouth. What remains along outlines, where
    the two were scaled or compressed differently, is told from that by the slope of the picture at that place.
    """
    first, second = fixed.astype(np.float32), moving.astype(np.float32)
    there, back = _halves(align(first.mean(-1), second.mean(-1), moves, steps=4))
    seen = covered(back, first.shape[1]) & covered(there, first.shape[1])
    first, second = (gaussian_filter(images, (0, 0.7, 0.7, 0)) for images in (warp(first, back), warp(second, there)))

    slope = np.maximum(_slope(first), _slope(second))
    seen = minimum_filter(seen, (1, 5, 5))  # beyond an edge it repeats, which the softening draws in
    differs = np.maximum(np.abs(first - second).max(-1) - SLOPE * slope, 0) * seen
    differs = differs[:, EDGE:-EDGE, EDGE:-EDGE]
    return np.asarray(uniform_filter(differs, (1, 3, 3)).max((1, 2)))


def _halves(moves: Floats) -> tuple[Floats, Floats]:
    """Moves for the moving and for the fixed pictures that meet half-way, so that sampling softens both alike."""
    back = np.concatenate([-moves[:, :1] / 2, -moves[:, 1:] / 2 / np.exp(moves[:, :1] / 2)], 1)
    there = np.concatenate([moves[:, :1] / 2, np.exp(moves[:, :1]) * back[:, 1:] + moves[:, 1:]], 1)
    return there, back


def _slope(images: Floats) -> Floats:
    """How steep the grey picture is at each pixel, per pixel: [P, S, S] of [P, S, S, C]."""
    down, across = np.gradient(images.mean(-1), axis=(1, 2))
    return np.asarray(np.hypot(down, across))
