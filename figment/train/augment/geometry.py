"""Geometric augmentations: exact flips and quarter turns, and resampling by one matrix per image without aliasing.

The resampling of Karras et al. 2020 (arXiv 2006.06676, appendix B): reflect at the borders, upsample by two with an
orthogonal low-pass filter, sample bilinearly, and downsample with the same filter. Upsampling (reflection included)
and downsampling are matrix products along both axes, so they are differentiable any number of times on any device.
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
"""The symlet with six vanishing moments (Daubechies 1992, table 8.3): orthogonal to its own shifts by two."""

CENTER = 5
"""Pixel i lies at position 2 i + CENTER of the upsampled grid: the filter delays low frequencies by 5.1 positions."""

EXTRA = len(SYM6) - 2
"""Positions of the upsampled grid beyond twice the number of pixels."""

MAX_LINE = 256
"""Longest line, in pixels, that is filtered by a single matrix; longer ones are filtered block by block."""


# Exact moves -----------------------------------------------------------------------------------------------------


def flip(
    images: Tensor,  # [N, C, H, W]
    chosen: Tensor,  # bool [N]: which images to mirror left and right
) -> Tensor:
    """Return images of which the chosen ones are mirrored, pixel for pixel."""
    return _where(chosen, images.flip(3), images)


def turn(
    images: Tensor,  # [N, C, H, W]
    turns: Tensor,  # int [N]: quarter turns counterclockwise, 0 to 3; only 0 or 2 if H and W differ
) -> Tensor:
    """Return images rotated by quarter turns, pixel for pixel."""
    # A quarter turn is a transposition and one reversal, a half turn reverses both axes.
    if images.shape[2] == images.shape[3]:
        images = _where((turns == 1) | (turns == 3), images.transpose(2, 3), images)
    images = _where((turns == 1) | (turns == 2), images.flip(2), images)
    return _where((turns == 2) | (turns == 3), images.flip(3), images)


def _where(chosen: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Return `yes` for the chosen images and `no` for the others; `chosen` is bool [N]."""
    return torch.where(chosen[:, None, None, None], yes, no)


# Matrices, in pixels from the center of the image ----------------------------------------------------------------


def shift(x: Tensor, y: Tensor) -> Tensor:
    """Return the matrices [N, 3, 3] that shift by `x` and `y` [N]."""
    return _affine(torch.ones_like(x), torch.zeros_like(x), x, torch.zeros_like(x), torch.ones_like(x), y)


def scale(x: Tensor, y: Tensor) -> Tensor:
    """Return the matrices [N, 3, 3] that multiply by `x` and `y` [N]."""
    zero = torch.zeros_like(x)
    return _affine(x, zero, zero, zero, y, zero)


def rotate(angle: Tensor) -> Tensor:
    """Return the matrices [N, 3, 3] that rotate by `angle` [N] in radians."""
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return _affine(cos, -sin, zero, sin, cos, zero)


def _affine(*entries: Tensor) -> Tensor:
    """Return [N, 3, 3] from the six entries [N] of the first two rows of homogeneous matrices."""
    zero, one = torch.zeros_like(entries[0]), torch.ones_like(entries[0])
    return torch.stack([*entries, zero, zero, one], 1).view(-1, 3, 3)  # [N, 9] -> [N, 3, 3]


# Resampling ------------------------------------------------------------------------------------------------------


def resample(
    images: Tensor,  # [N, C, H, W]
    matrix: Tensor,  # [N, 3, 3]: from output positions to the input positions shown there
    margin: float = 0.125,  # reflected border, as a share of the size; positions farther out are mirrored back
) -> Tensor:
    """Return the images resampled through `matrix`; those with the identity are returned bit for bit."""
    moved = (matrix != torch.eye(3, dtype=matrix.dtype, device=matrix.device)).flatten(1).any(1)
    if reads_values(images):
        chosen = moved.nonzero()[:, 0]
        return images.index_copy(0, chosen, _resample(images[chosen], matrix[chosen], margin))
    return _where(moved, _resample(images, matrix, margin), images)


def reads_values(images: Tensor) -> bool:
    """Return whether control flow may depend on values: only on the CPU, since a GPU would have to be waited for."""
    return images.device.type == "cpu"


def _resample(images: Tensor, matrix: Tensor, margin: float) -> Tensor:
    """`resample` without the shortcut for the identity."""
    height, width = images.shape[2:]
    rows, columns = math.ceil(margin * height), math.ceil(margin * width)
    large = _upsample(_upsample(images, 3, columns), 2, rows)  # [N, C, Y, X]

    # The position in the upsampled input of each position of the upsampled output, in [-1, 1].
    x, y = _positions(width, images), _positions(height, images)[:, None]  # [X], [Y, 1]
    m = matrix.to(images.dtype)[:, :, :, None, None]
    across = _lookup(m[:, 0, 0] * x + m[:, 0, 2], m[:, 0, 1] * y, width, columns)  # [N, Y, X]
    down = _lookup(m[:, 1, 0] * x + m[:, 1, 2], m[:, 1, 1] * y, height, rows)
    sampled = grid_sample(large, torch.stack([across, down], 3))
    return _downsample(_downsample(sampled, 2), 3)


def _positions(size: int, like: Tensor) -> Tensor:
    """Return the positions of the upsampled output in pixels from the center: [2 * size + EXTRA]."""
    positions = torch.arange(2 * size + EXTRA, dtype=like.dtype, device=like.device)
    return (positions - CENTER) / 2 - (size - 1) / 2


def _lookup(along: Tensor, across: Tensor, size: int, margin: int) -> Tensor:
    """Return the positions `along` + `across`, in pixels from the center, as coordinates of the upsampled input."""
    # The image with its margin is not symmetric about its center: the filter reaches one pixel farther on the right.
    first, last = -margin - CENTER / 2, size + margin + (EXTRA - 1 - CENTER) / 2
    unit, half = 2 / (last - first), (size - 1) / 2
    position = along * unit + across * unit + ((half - first) * unit - 1)

    # Beyond the margin: the distance to the nearest position at which a mirrored copy begins.
    begin, period = -first * unit - 1, 4 * half * unit
    turns = (position - begin) * (1 / period)
    mirrored = (turns - (turns + 0.5).floor_()).abs_().mul_(period).add_(begin)
    return torch.where(position.abs() <= 1 + 1e-6, position, mirrored)


# Upsampling and downsampling by two ------------------------------------------------------------------------------


def _upsample(x: Tensor, axis: int, margin: int) -> Tensor:
    """Upsample and filter along axis 2 or 3, with `margin` reflected pixels on both sides."""
    size = x.shape[axis]
    if filters_lines(x):
        around = _reflected(size, -margin - EXTRA // 2, size + 2 * margin + EXTRA, x.device)
        return filter_lines(
            x.index_select(axis, around), _taps(x.device), axis, True, EXTRA, 2 * size + EXTRA + 4 * margin
        )
    block = block_length(size)
    matrix = _upsampling(block or size, 0 if block else margin, bool(block), x.device, x.dtype)
    if not block:
        return _times(x, matrix, axis)
    count = 2 * size + EXTRA + 4 * margin
    blocks = -(-count // (2 * block))
    pixels = _reflected(size, -margin - EXTRA // 2, blocks * block + EXTRA // 2, x.device)
    return _in_blocks(x.index_select(axis, pixels), matrix, axis, block).narrow(axis, 0, count)


def _downsample(x: Tensor, axis: int) -> Tensor:
    """Filter and downsample along axis 2 or 3: the inverse of `_upsample` without a margin."""
    size = (x.shape[axis] - EXTRA) // 2
    if filters_lines(x):
        return filter_lines(x, _taps(x.device), axis, False, 0, size)
    block = block_length(size)
    matrix = _downsampling(block or size, x.device, x.dtype)
    return _in_blocks(x, matrix, axis, 2 * block) if block else _times(x, matrix, axis)


def _times(x: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Multiply along axis 2 or 3 by `matrix` [in, out]."""
    return x @ matrix if axis == 3 else matrix.t() @ x


def _in_blocks(x: Tensor, matrix: Tensor, axis: int, step: int) -> Tensor:
    """Multiply overlapping pieces along axis 2 or 3, one every `step`, and concatenate the results."""
    pieces = x.transpose(axis, 3).unfold(3, len(matrix), step) @ matrix  # [..., pieces, out]
    return pieces.flatten(3).transpose(axis, 3)


def block_length(size: int) -> int:
    """Return the pixels per block that lines of `size` pixels are filtered by; 0 for a single matrix."""
    return next((block for block in (64, 48, 32) if size % block == 0), 0) if size > MAX_LINE else 0


@lru_cache(maxsize=64)
def _upsampling(size: int, margin: int, inner: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the matrix [pixels, positions] that upsamples `size` pixels by two and filters.

    A whole line is extended by reflection; an `inner` piece of a longer line takes EXTRA / 2 pixels before it instead.
    """
    shape = (size + EXTRA // 2, 2 * size) if inner else (size, 2 * size + EXTRA + 4 * margin)
    matrix = np.zeros(shape)
    for column in range(matrix.shape[1]):
        position = column - 2 * margin
        for tap in range(position % 2, len(SYM6), 2):
            pixel = (position - tap) // 2
            matrix[pixel + EXTRA // 2 if inner else _reflect(pixel, size), column] += SYM6[tap]
    return _constant(matrix, device, dtype)


@lru_cache(maxsize=64)
def _downsampling(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the matrix [positions, pixels] that filters the upsampled grid and keeps every second position."""
    matrix = np.zeros((2 * size + EXTRA, size))
    for column in range(size):
        matrix[2 * column : 2 * column + len(SYM6), column] = SYM6
    return _constant(matrix, device, dtype)


@lru_cache(maxsize=8)
def _taps(device: torch.device) -> Tensor:
    """Return the symlet, float32 [12]."""
    return _constant(np.array(SYM6), device, torch.float32)


@lru_cache(maxsize=64)
def _reflected(size: int, first: int, count: int, device: torch.device) -> Tensor:
    """Return the indices of the pixels that reflection shows at `count` positions from `first` on, int64 [count]."""
    return _constant(
        np.array([_reflect(position, size) for position in range(first, first + count)]), device, torch.int64
    )


def _reflect(position: int, size: int) -> int:
    """Return the pixel that reflection shows at a position beyond the border; the border pixel is not repeated."""
    position %= 2 * (size - 1)
    return min(position, 2 * (size - 1) - position)


def _constant(values: np.ndarray[Any, Any], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a tensor that can be cached and used with gradients later, even if it is made in inference mode."""
    with torch.inference_mode(False):
        return torch.from_numpy(values).to(device, dtype)
