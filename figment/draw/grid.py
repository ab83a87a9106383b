"""Lay out images of one size as a grid: fakes, samples, mixes."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from figment.base.errors import FigmentError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MAX_SIDE = 1000
SQUARES = (178, 216)
"""The two grays of the checkerboard behind transparent images."""


def make_grid(
    images: np.ndarray,  # uint8 [N, C, H, W] with C = 1 (gray), 3 (RGB) or 4 (RGBA)
    columns: int,  # images per row
) -> Image.Image:
    """Return the grid, row by row from left to right; unused cells are black (transparent in RGBA).

    Raises ValueError for another number of channels.
    """
    count, channels, height, width = images.shape
    if channels not in MODES:
        raise ValueError(f"a grid needs 1, 3 or 4 channels, not {channels}")
    columns = max(1, min(columns, count))
    rows = -(-count // columns)

    # Fill up the last row, then put the tiles' pixel rows side by side.
    padded = np.zeros((rows * columns, channels, height, width), np.uint8)
    padded[:count] = images
    tiles = padded.reshape(rows, columns, channels, height, width)  # [R, K, C, H, W]
    sheet = tiles.transpose(0, 3, 1, 4, 2)  # [R, H, K, W, C]
    sheet = sheet.reshape(rows * height, columns * width, channels)  # [R*H, K*W, C]
    return Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet)


def on_squares(
    images: np.ndarray,  # uint8 [N, C, H, W]
) -> np.ndarray:
    """Return RGBA images over a gray checkerboard, uint8 [N, 3, H, W]; other images unchanged."""
    if images.shape[1] != 4:
        return images
    height, width = images.shape[2:]
    square = max(height // 16, 1)
    odd = (np.arange(height)[:, None] // square + np.arange(width) // square) % 2  # [H, W]
    back = np.where(odd, *SQUARES).astype(np.float32)
    alpha = images[:, 3:].astype(np.float32) / 255  # [N, 1, H, W]
    return np.rint(images[:, :3] * alpha + back * (1 - alpha)).astype(np.uint8)


def grid_shape(
    text: str,  # "COLUMNSxROWS" such as "8x4"
    flag: str = "--grid",  # option that messages name
) -> tuple[int, int]:
    """Return the columns and rows of a text such as "8x4"; raises FigmentError that names `flag` for others."""
    match = re.fullmatch(r"\s*(\d{1,4})\s*[xX]\s*(\d{1,4})\s*", text)
    shape = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(1 <= side <= MAX_SIDE for side in shape):
        raise FigmentError(f"{flag} {text!r}: must be columns x rows, such as 8x8, each from 1 to {MAX_SIDE}")
    return shape
