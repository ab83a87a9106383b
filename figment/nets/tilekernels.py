"""The passes of `tiles.py`, compiled by Numba once and kept on disk.

A tile stays in the cache of its core from the first loop to the last, and the zeros of a map, which are many, are
skipped. Pictures and tiles are float32, or bfloat16, which NumPy lacks: then they come as its bits, the upper half of
a float32's, in int16. All is computed in float32.
"""

from __future__ import annotations

from typing import TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Maps: TypeAlias = NDArray[np.float32] | NDArray[np.int16]
WIDE = 256
"""Channels taken at once: what a tile holds of them fits into the second cache."""


@numba.njit(fastmath=True, error_model="numpy", cache=True)
def _load(pixel: Maps, into: Floats, bits: NDArray[np.int32]) -> None:
    """[C] to [C]; `bits` are those of `into`."""
    for c in range(len(pixel)):
        if pixel.itemsize == 2:
            bits[c] = np.int32(pixel[c]) << 16
        else:
            into[c] = pixel[c]


@numba.njit(fastmath=True, error_model="numpy", cache=True)
def _store(values: Floats, bits: NDArray[np.int32], into: Maps) -> None:
    """[C] to [C]; bfloat16 is rounded to the nearest, ties to even."""
    for c in range(len(into)):
        if into.itemsize == 2:
            into[c] = np.int16((bits[c] + 0x7FFF + ((bits[c] >> 16) & 1)) >> 16)
        else:
            into[c] = values[c]


@numba.njit(fastmath=True, error_model="numpy", cache=True)
def _along_both(matrix: Floats, tile: Floats, rows: Floats, mapped: Floats, channels: int) -> None:
    """[I, I, C] over [J, I, C] to [J, J, C]."""
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
def cut(
    begin: int,  # the first tile to make
    end: int,
    matrix: Floats,  # [J, I]
    pictures: Maps,  # [N, H, W, C]
    tiles: Maps,  # [J^2, T, C]: the result
    step: int,
    pad: int,
    down: int,  # tiles down and across
    across: int,
) -> None:
    _, height, width, channels = pictures.shape
    ins, outs = matrix.shape[1], matrix.shape[0]
    rows = np.empty((outs, ins, WIDE), np.float32)
    mapped = np.empty((outs, outs, WIDE), np.float32)
    mapped_bits = mapped.view(np.int32)
    for t in range(begin, end):
        n, place = t // (down * across), t % (down * across)
        top, left = place // across * step - pad, place % across * step - pad
        tile = np.zeros((ins, ins, WIDE), np.float32)
        tile_bits = tile.view(np.int32)
        for first in range(0, channels, WIDE):
            last = min(first + WIDE, channels)
            for i in range(max(0, -top), min(ins, height - top)):
                for k in range(max(0, -left), min(ins, width - left)):
                    _load(pictures[n, top + i, left + k, first:last], tile[i, k], tile_bits[i, k])
            _along_both(matrix, tile, rows, mapped, last - first)
            for j in range(outs):
                for k in range(outs):
                    _store(mapped[j, k], mapped_bits[j, k], tiles[j * outs + k, t, first:last])


@numba.njit(nogil=True, fastmath=True, error_model="numpy", cache=True)
def paste(
    begin: int,  # the first block of channels of a sample to make
    end: int,
    matrix: Floats,  # [J, I]
    tiles: Maps,  # [I^2, T, C]
    pictures: Maps,  # [N, H, W, C]: the result
    step: int,
    pad: int,
    down: int,
    across: int,
) -> None:
    _, height, width, channels = pictures.shape
    ins, outs = matrix.shape[1], matrix.shape[0]
    blocks = (channels + WIDE - 1) // WIDE
    tile = np.empty((ins, ins, WIDE), np.float32)
    rows = np.empty((outs, ins, WIDE), np.float32)
    mapped = np.empty((outs, outs, WIDE), np.float32)
    tile_bits = tile.view(np.int32)

    # Only as many rows are summed at once as a row of tiles reaches: what is done moves out at the top.
    sums = np.zeros((outs, width, WIDE), np.float32)
    sum_bits = sums.view(np.int32)
    for job in range(begin, end):
        n, first = job // blocks, job % blocks * WIDE
        last = min(first + WIDE, channels)
        wide = last - first
        for row in range(down):
            top = row * step - pad
            for column in range(across):
                left = column * step - pad
                place = (n * down + row) * across + column
                for i in range(ins):
                    for k in range(ins):
                        _load(tiles[i * ins + k, place, first:last], tile[i, k], tile_bits[i, k])
                _along_both(matrix, tile, rows, mapped, wide)
                for j in range(outs):
                    for k in range(max(0, -left), min(outs, width - left)):
                        pixel, into = mapped[j, k], sums[(top + j) % outs, left + k]
                        for c in range(wide):
                            into[c] += pixel[c]
            done = top + step if row < down - 1 else height
            for y in range(max(0, top), min(done, height)):
                for x in range(width):
                    _store(sums[y % outs, x], sum_bits[y % outs, x], pictures[n, y, x, first:last])
            for y in range(top, top + (step if row < down - 1 else outs)):
                sums[y % outs] = 0
