"""The passes of `tiles.py`, compiled by Numba once and kept on disk.

A tile stays in the cache of its core from the first loop to the last, and the zeros of a map, which are many, are
skipped.
"""

from __future__ import annotations

from typing import TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]
WIDE = 256
"""Channels taken at once: what a tile holds of them fits into the second cache."""


@numba.njit(fastmath=True, error_model="numpy", cache=True)
def _along_both(matrix: Array, tile: Array, rows: Array, mapped: Array, channels: int) -> None:
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
    begin: int,             # the first tile to make
    end: int,
    matrix: Array,          # [J, I]
    pictures: Array,        # [N, H, W, C]
    tiles: Array,           # [J^2, T, C]: the result
    step: int,
    pad: int,
    down: int,              # tiles down and across
    across: int,
) -> None:
    _, height, width, channels = pictures.shape
    ins, outs = matrix.shape[1], matrix.shape[0]
    for t in range(begin, end):
        n, place = t // (down * across), t % (down * across)
        top, left = place // across * step - pad, place % across * step - pad
        tile = np.zeros((ins, ins, WIDE), np.float32)
        rows = np.empty((outs, ins, WIDE), np.float32)
        mapped = np.empty((outs, outs, WIDE), np.float32)
        for first in range(0, channels, WIDE):
            wide = min(WIDE, channels - first)
            for i in range(max(0, -top), min(ins, height - top)):
                for k in range(max(0, -left), min(ins, width - left)):
                    pixel, into = pictures[n, top + i, left + k, first : first + wide], tile[i, k]
                    for c in range(wide):
                        into[c] = pixel[c]
            _along_both(matrix, tile, rows, mapped, wide)
            for j in range(outs):
                for k in range(outs):
                    pixel, into = mapped[j, k], tiles[j * outs + k, t, first : first + wide]
                    for c in range(wide):
                        into[c] = pixel[c]


@numba.njit(nogil=True, fastmath=True, error_model="numpy", cache=True)
def paste(
    begin: int,             # the first block of channels of a sample to make
    end: int,
    matrix: Array,          # [J, I]
    tiles: Array,           # [I^2, T, C]
    pictures: Array,        # [N, H, W, C]: the result
    step: int,
    pad: int,
    down: int,
    across: int,
) -> None:
    _, height, width, channels = pictures.shape
    ins, outs = matrix.shape[1], matrix.shape[0]
    blocks = (channels + WIDE - 1) // WIDE
    for job in range(begin, end):
        n, first = job // blocks, job % blocks * WIDE
        wide = min(WIDE, channels - first)
        tile = np.empty((ins, ins, WIDE), np.float32)
        rows = np.empty((outs, ins, WIDE), np.float32)
        mapped = np.empty((outs, outs, WIDE), np.float32)
        for y in range(height):
            for x in range(width):
                into = pictures[n, y, x, first : first + wide]
                for c in range(wide):
                    into[c] = 0
        for place in range(down * across):
            top, left = place // across * step - pad, place % across * step - pad
            for i in range(ins):
                for k in range(ins):
                    pixel, into = tiles[i * ins + k, n * down * across + place, first : first + wide], tile[i, k]
                    for c in range(wide):
                        into[c] = pixel[c]
            _along_both(matrix, tile, rows, mapped, wide)
            for j in range(max(0, -top), min(outs, height - top)):
                for k in range(max(0, -left), min(outs, width - left)):
                    pixel, into = mapped[j, k], pictures[n, top + j, left + k, first : first + wide]
                    for c in range(wide):
                        into[c] += pixel[c]
