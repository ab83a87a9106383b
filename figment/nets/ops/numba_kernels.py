"""The tile transforms of `winograd.py`, compiled by Numba once and cached on disk.

A tile stays in its core's cache from the first loop to the last. Zeros of the matrices, which are many, are skipped.
Images and tiles are float32, or bfloat16 given as int16 bits (the upper half of a float32), because NumPy has no
bfloat16. All arithmetic is in float32.
"""

from __future__ import annotations

from typing import TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Maps: TypeAlias = NDArray[np.float32] | NDArray[np.int16]
CHANNEL_BLOCK = 256
"""Channels processed at once: a tile of this many fits into the second-level cache."""


@numba.njit(fastmath=True, error_model="numpy", cache=True)
def _load(pixel: Maps, into: Floats, bits: NDArray[np.int32]) -> None:
    """Copy [C] to float32 [C]; `bits` are those of `into`."""
    for c in range(len(pixel)):
        if pixel.itemsize == 2:
            bits[c] = np.int32(pixel[c]) << 16
        else:
            into[c] = pixel[c]


@numba.njit(fastmath=True, error_model="numpy", cache=True)
def _store(values: Floats, bits: NDArray[np.int32], into: Maps) -> None:
    """Copy float32 [C] to [C]; bfloat16 is rounded to the nearest, ties to even."""
    for c in range(len(into)):
        if into.itemsize == 2:
            into[c] = np.int16((bits[c] + 0x7FFF + ((bits[c] >> 16) & 1)) >> 16)
        else:
            into[c] = values[c]


@numba.njit(fastmath=True, error_model="numpy", cache=True)
def _along_both_axes(matrix: Floats, tile: Floats, rows: Floats, mapped: Floats, channels: int) -> None:
    """Apply the matrix along both axes: [I, I, C] over [J, I, C] to [J, J, C]."""
    outs, ins = matrix.shape
    for j in range(outs):
        rows[j] = 0
        for i in range(ins):
            weight = matrix[j, i]
            if weight != 0:
                for k in range(ins):
                    into, pixel = rows[j, k], tile[i, k]
                    for c in range(channels):
                        into[c] += weight * pixel[c]
    for k in range(outs):
        mapped[:, k] = 0
        for i in range(ins):
            weight = matrix[k, i]
            if weight != 0:
                for j in range(outs):
                    into, pixel = mapped[j, k], rows[j, i]
                    for c in range(channels):
                        into[c] += weight * pixel[c]


@numba.njit(nogil=True, fastmath=True, error_model="numpy", cache=True)
def input_transform(
    jobs: tuple[int, int],  # first tile to compute, and the one after the last
    matrix: Floats,  # [J, I]
    images: Maps,  # [N, H, W, C]
    tiles: Maps,  # [J^2, T, C]: the result
    moves: tuple[int, int],  # pixels from one tile to the next, and zeros around the image
    grid: tuple[int, int],  # tiles down and across
) -> None:
    """Compute a range of tiles."""
    _, height, width, channels = images.shape
    ins, outs = matrix.shape[1], matrix.shape[0]
    step, padding = moves
    down, across = grid
    rows = np.empty((outs, ins, CHANNEL_BLOCK), np.float32)
    mapped = np.empty((outs, outs, CHANNEL_BLOCK), np.float32)
    mapped_bits = mapped.view(np.int32)
    for t in range(jobs[0], jobs[1]):
        n, place = t // (down * across), t % (down * across)
        top, left = place // across * step - padding, place % across * step - padding
        tile = np.zeros((ins, ins, CHANNEL_BLOCK), np.float32)
        tile_bits = tile.view(np.int32)
        for first in range(0, channels, CHANNEL_BLOCK):
            last = min(first + CHANNEL_BLOCK, channels)
            for i in range(max(0, -top), min(ins, height - top)):
                for k in range(max(0, -left), min(ins, width - left)):
                    _load(images[n, top + i, left + k, first:last], tile[i, k], tile_bits[i, k])
            _along_both_axes(matrix, tile, rows, mapped, last - first)
            for j in range(outs):
                for k in range(outs):
                    _store(mapped[j, k], mapped_bits[j, k], tiles[j * outs + k, t, first:last])


@numba.njit(nogil=True, fastmath=True, error_model="numpy", cache=True)
def output_transform(
    jobs: tuple[int, int],  # first channel block of a sample to compute, and the one after the last
    matrix: Floats,  # [J, I]
    tiles: Maps,  # [I^2, T, C]
    images: Maps,  # [N, H, W, C]: the result
    moves: tuple[int, int],  # pixels from one tile to the next, and zeros around the image
    grid: tuple[int, int],  # tiles down and across
) -> None:
    """Compute a range of channel blocks of the images."""
    _, height, width, channels = images.shape
    ins, outs = matrix.shape[1], matrix.shape[0]
    step, padding = moves
    down, across = grid
    blocks = (channels + CHANNEL_BLOCK - 1) // CHANNEL_BLOCK
    tile = np.empty((ins, ins, CHANNEL_BLOCK), np.float32)
    rows = np.empty((outs, ins, CHANNEL_BLOCK), np.float32)
    mapped = np.empty((outs, outs, CHANNEL_BLOCK), np.float32)
    tile_bits = tile.view(np.int32)

    # A ring buffer with as many rows as a tile is high: finished rows are stored from its top.
    sums = np.zeros((outs, width, CHANNEL_BLOCK), np.float32)
    sum_bits = sums.view(np.int32)
    for job in range(jobs[0], jobs[1]):
        n, first = job // blocks, job % blocks * CHANNEL_BLOCK
        last = min(first + CHANNEL_BLOCK, channels)
        wide = last - first
        for row in range(down):
            top = row * step - padding
            for column in range(across):
                left = column * step - padding
                place = (n * down + row) * across + column
                for i in range(ins):
                    for k in range(ins):
                        _load(tiles[i * ins + k, place, first:last], tile[i, k], tile_bits[i, k])
                _along_both_axes(matrix, tile, rows, mapped, wide)
                for j in range(outs):
                    for k in range(max(0, -left), min(outs, width - left)):
                        pixel, into = mapped[j, k], sums[(top + j) % outs, left + k]
                        for c in range(wide):
                            into[c] += pixel[c]
            done = top + step if row < down - 1 else height
            for y in range(max(0, top), min(done, height)):
                for x in range(width):
                    _store(sums[y % outs, x], sum_bits[y % outs, x], images[n, y, x, first:last])
            for y in range(top, top + (step if row < down - 1 else outs)):
                sums[y % outs] = 0
