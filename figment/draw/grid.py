"""Many pictures of one size laid out as one: the grid of fakes, of samples, of mixes."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from figment.base.errors import FigmentError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MAX_SIDE = 1000
SQUARES = (178, 216)
"""The two greys behind transparent pictures."""


def make_grid(
    images: np.ndarray,  # uint8 [N, C, H, W] with C = 1 (grey), 3 (RGB) or 4 (RGBA)
    columns: int,  # how many pictures stand in a row
) -> Image.Image:
    """The pictures row by row, left to right; places that are left over stay black (transparent in RGBA)."""
    count, channels, height, width = images.shape
    if channels not in MODES:
        raise ValueError(f"a grid needs 1, 3 or 4 channels, not {channels}")
    columns = max(1, min(columns, count))
    rows = -(-count // columns)

    # Fill up the last row, then bring the tiles' rows of pixels side by side.
    padded = np.zeros((rows * columns, channels, height, width), np.uint8)
    padded[:count] = images
    tiles = padded.reshape(rows, columns, channels, height, width)  # [R, K, C, H, W]
    sheet = tiles.transpose(0, 3, 1, 4, 2)  # [R, H, K, W, C]
    sheet = sheet.reshape(rows * height, columns * width, channels)  # [R*H, K*W, C]
    return Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet)


def on_squares(
    images: np.ndarray,  # uint8 [N, C, H, W]
) -> np.ndarray:
    """RGBA pictures laid over grey squares, to show transparency: uint8 [N, 3, H, W]; others as they are."""
    if images.shape[1] != 4:
        return images
    height, width = images.shape[2:]
    square = max(height // 16, 1)
    odd = (np.arange(height)[:, None] // square + np.arange(width) // square) % 2  # [H, W]
    back = np.where(odd, *SQUARES).astype(np.float32)
    alpha = images[:, 3:].astype(np.float32) / 255  # [N, 1, H, W]
    return np.rint(images[:, :3] * alpha + back * (1 - alpha)).astype(np.uint8)


def grid_shape(
    text: str,  # such as "8x8": columns, then rows
    flag: str = "--grid",  # the flag that a message names
) -> tuple[int, int]:
    """`"8x4"` as (8, 4), columns and rows; raises FigmentError that names `flag`, the value and the rule."""
    match = re.fullmatch(r"\s*(\d{1,4})\s*[xX]\s*(\d{1,4})\s*", text)
    shape = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(1 <= side <= MAX_SIDE for side in shape):
        raise FigmentError(f"{flag} {text!r}: must be columns x rows, such as 8x8, each from 1 to {MAX_SIDE}")
    return shape
