"""Moving pictures without aliasing: exact flips and quarter turns, and one matrix per picture for everything else.

The resampling of Karras et al. 2020 (arXiv 2006.06676, appendix B): reflect at the borders, go to twice the size with
an orthogonal low-pass filter, sample bilinearly, come back with the same filter. Enlarging (reflection included) and
coming back are matrix products from both sides, which differentiate any number of times on any device.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from figment.nets.ops import filter_lines, filters_lines, grid_sample

SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
"""The symlet of six vanishing moments (Daubechies 1992, table 8.3): orthogonal to its own shifts by two."""

CENTRE = 5
"""Pixel i lies at place 2 i + CENTRE of the doubled grid: the filter delays low frequencies by 5.1 places."""

EXTRA = len(SYM6) - 2
"""The doubled grid has so many more places than twice the pixels."""

LONG = 256
"""Lines up to this many pixels are filtered by one matrix, longer ones block by block."""


# ---------------------------------------------------------------------- exact moves


def flip_and_turn(
    images: Tensor,  # [N, C, H, W]
    flip: Tensor,  # bool [N]: mirror left and right
    turns: Tensor,  # int [N]: quarter turns, 0 to 3; only half turns (0 or 2) where H and W differ
) -> Tensor:
    """Pictures mirrored, then turned by quarters, pixel for pixel."""
    # A quarter turn is a transposition and a reversal, a half turn reverses both axes.
    transpose = (turns == 1) | (turns == 3)
    upside, sideways = (turns == 1) | (turns == 2), (turns == 2) | (turns == 3)
    images = _where(flip, images.flip(3), images)
    if images.shape[2] == images.shape[3]:
        images = _where(transpose, images.transpose(2, 3), images)
    images = _where(upside, images.flip(2), images)
    return _where(sideways, images.flip(3), images)


def _where(chosen: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """`yes` for the chosen pictures, `no` for the others; `chosen` bool [N]."""
    return torch.where(chosen[:, None, None, None], yes, no)


# ---------------------------------------------------------------------- matrices, in pixels from the middle


def shift(x: Tensor, y: Tensor) -> Tensor:
    """Moves by `x` and `y` [N]: [N, 3, 3]."""
    return _affine(torch.ones_like(x), torch.zeros_like(x), x, torch.zeros_like(x), torch.ones_like(x), y)


def scale(x: Tensor, y: Tensor) -> Tensor:
    """Multiplies by `x` and `y` [N]: [N, 3, 3]."""
    zero = torch.zeros_like(x)
    return _affine(x, zero, zero, zero, y, zero)


def rotate(angle: Tensor) -> Tensor:
    """Turns by `angle` [N] in radians: [N, 3, 3]."""
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return _affine(cos, -sin, zero, sin, cos, zero)


def _affine(*entries: Tensor) -> Tensor:
    """The first two rows of a homogeneous matrix, six entries [N], completed to [N, 3, 3]."""
    zero, one = torch.zeros_like(entries[0]), torch.ones_like(entries[0])
    return torch.stack([*entries, zero, zero, one], 1).view(-1, 3, 3)  # [N, 9] -> [N, 3, 3]


# ---------------------------------------------------------------------- resampling


def resample(
    images: Tensor,  # [N, C, H, W]
    matrix: Tensor,  # [N, 3, 3]: from a place in the result to the place in the picture that is shown there
    margin: float = 0.125,  # reflected pixels kept around, as a share of the size; farther places are mirrored back
) -> Tensor:
    """Pictures seen through `matrix`; one whose matrix is the identity comes back bit for bit."""
    moved = (matrix != torch.eye(3, dtype=matrix.dtype, device=matrix.device)).flatten(1).any(1)
    if may_ask(images):
        chosen = moved.nonzero()[:, 0]
        return images.index_copy(0, chosen, _resample(images[chosen], matrix[chosen], margin))
    return _where(moved, _resample(images, matrix, margin), images)


def may_ask(images: Tensor) -> bool:
    """Whether a value may steer the program: on the CPU only, elsewhere it would wait for the device."""
    return images.device.type == "cpu"


def _resample(images: Tensor, matrix: Tensor, margin: float) -> Tensor:
    """`resample` for pictures that all move."""
    height, width = images.shape[2:]
    rows, columns = math.ceil(margin * height), math.ceil(margin * width)
    large = _double(_double(images, 3, columns), 2, rows)  # [N, C, Y, X]

    # Where in the doubled picture each place of the doubled result is looked up, in [-1, 1].
    x, y = _places(width, images), _places(height, images)[:, None]  # [X], [Y, 1]
    m = matrix.to(images.dtype)[:, :, :, None, None]
    across = _lookup(m[:, 0, 0] * x + m[:, 0, 2], m[:, 0, 1] * y, width, columns)  # [N, Y, X]
    down = _lookup(m[:, 1, 0] * x + m[:, 1, 2], m[:, 1, 1] * y, height, rows)
    sampled = grid_sample(large, torch.stack([across, down], 3))
    return _halve(_halve(sampled, 2), 3)


def _places(size: int, like: Tensor) -> Tensor:
    """The doubled result's places in pixels from the middle: [2 * size + EXTRA]."""
    places = torch.arange(2 * size + EXTRA, dtype=like.dtype, device=like.device)
    return (places - CENTRE) / 2 - (size - 1) / 2


def _lookup(along: Tensor, across: Tensor, size: int, margin: int) -> Tensor:
    """Places `along` + `across`, in pixels from the middle, as coordinates in [-1, 1] of the doubled picture."""
    # The picture with its margin is not symmetric about its middle: the filter reaches a pixel farther on the right.
    first, last = -margin - CENTRE / 2, size + margin + (EXTRA - 1 - CENTRE) / 2
    unit, half = 2 / (last - first), (size - 1) / 2
    place = along * unit + across * unit + ((half - first) * unit - 1)

    # Outside of the margin: the distance to the nearest of the places where mirrored pictures begin.
    begin, period = -first * unit - 1, 4 * half * unit
    turns = (place - begin) * (1 / period)
    mirrored = (turns - (turns + 0.5).floor_()).abs_().mul_(period).add_(begin)
    return torch.where(place.abs() <= 1 + 1e-6, place, mirrored)


# ---------------------------------------------------------------------- twice the size and back


def _double(x: Tensor, axis: int, margin: int) -> Tensor:
    """Rows (axis 2) or columns (3) with `margin` reflected ones on both sides, at twice the size, filtered."""
    size = x.shape[axis]
    if filters_lines(x):
        around = _reflected(size, -margin - EXTRA // 2, size + 2 * margin + EXTRA, x.device)
        return filter_lines(
            x.index_select(axis, around), _taps(x.device), axis, True, EXTRA, 2 * size + EXTRA + 4 * margin
        )
    block = _block(size)
    matrix = _doubling(block or size, 0 if block else margin, bool(block), x.device, x.dtype)
    if not block:
        return _times(x, matrix, axis)
    count = 2 * size + EXTRA + 4 * margin
    blocks = -(-count // (2 * block))
    places = _reflected(size, -margin - EXTRA // 2, blocks * block + EXTRA // 2, x.device)
    return _in_blocks(x.index_select(axis, places), matrix, axis, block).narrow(axis, 0, count)


def _halve(x: Tensor, axis: int) -> Tensor:
    """Rows (axis 2) or columns (3) filtered and every second one kept: undoes `_double` without a margin."""
    size = (x.shape[axis] - EXTRA) // 2
    if filters_lines(x):
        return filter_lines(x, _taps(x.device), axis, False, 0, size)
    block = _block(size)
    matrix = _halving(block or size, x.device, x.dtype)
    return _in_blocks(x, matrix, axis, 2 * block) if block else _times(x, matrix, axis)


def _times(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Rows (axis 2) or columns (3) mapped by `matrix` [before, after]."""
    return x @ matrix if axis == 3 else matrix.t() @ x


def _in_blocks(x: Tensor, matrix: Tensor, axis: int, step: int) -> Tensor:
    """The same for overlapping pieces of rows or columns, one every `step`, laid side by side."""
    pieces = x.transpose(axis, 3).unfold(3, len(matrix), step) @ matrix  # [..., pieces, after]
    return pieces.flatten(3).transpose(axis, 3)


def _block(size: int) -> int:
    """Pixels per product where one matrix for a whole line would waste work; 0 where it would not."""
    return next((block for block in (64, 48, 32) if size % block == 0), 0) if size > LONG else 0


@lru_cache(maxsize=64)
def _doubling(size: int, margin: int, inner: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The matrix [pixels, places] that spreads `size` pixels to every second place and filters.

    They are extended by reflection; `inner` pixels of a longer line have EXTRA / 2 others before them instead.
    """
    shape = (size + EXTRA // 2, 2 * size) if inner else (size, 2 * size + EXTRA + 4 * margin)
    matrix = np.zeros(shape)
    for column in range(matrix.shape[1]):
        place = column - 2 * margin
        for tap in range(place % 2, len(SYM6), 2):
            pixel = (place - tap) // 2
            matrix[pixel + EXTRA // 2 if inner else _reflect(pixel, size), column] += SYM6[tap]
    return _constant(matrix, device, dtype)


@lru_cache(maxsize=64)
def _halving(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The matrix [places, pixels] that filters the doubled grid and keeps every second place."""
    matrix = np.zeros((2 * size + EXTRA, size))
    for column in range(size):
        matrix[2 * column : 2 * column + len(SYM6), column] = SYM6
    return _constant(matrix, device, dtype)


@lru_cache(maxsize=8)
def _taps(device: torch.device) -> Tensor:
    """The symlet, float32 [12]."""
    return _constant(np.array(SYM6), device, torch.float32)


@lru_cache(maxsize=64)
def _reflected(size: int, first: int, count: int, device: torch.device) -> Tensor:
    """The pixels seen at `count` places from `first` on."""
    return _constant(np.array([_reflect(place, size) for place in range(first, first + count)]), device, torch.int64)


def _reflect(place: int, size: int) -> int:
    """A place beyond the border as the one that it mirrors; the border pixel itself is not repeated."""
    place %= 2 * (size - 1)
    return min(place, 2 * (size - 1) - place)


def _constant(values: np.ndarray[Any, Any], device: torch.device, dtype: torch.dtype) -> Tensor:
    """A tensor that may be kept and used under gradients later, wherever it is first asked for."""
    with torch.inference_mode(False):
        return torch.from_numpy(values).to(device, dtype)
