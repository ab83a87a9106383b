"""Cut squares around heads, without padding in a single color."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from figment.base.records import Box

Square = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels of the image; may reach outside of it (see `square_around`)."""


def square_around(
    box: Box,  # the head
    size: tuple[int, int],  # width and height of the image
    margin: float,  # room on each side, as a share of the head's longer side
) -> Square:
    """Return the square to cut for a head with its margin.

    A square that reaches outside the image is shifted inside. One that is larger than the image shrinks to the largest
    square that fits. Only if that is too small for the head, the square becomes as large as the head and stays larger
    than the image, which `cut_square` then extends by reflection.
    """
    longer = max(box.width, box.height)
    fits = min(size)
    side = min(max(1, round(longer * (1 + 2 * margin))), fits)
    if side < math.floor(longer):
        side = math.ceil(longer)

    start = []
    for low, high, length in ((box.x0, box.x1, size[0]), (box.y0, box.y1, size[1])):
        first = round((low + high) / 2 - side / 2)
        start.append(min(max(first, 0), length - side) if side <= length else (length - side) // 2)
    return start[0], start[1], start[0] + side, start[1] + side


def cut_square(
    image: Image.Image,  # RGB
    square: Square,
    largest: int | None = None,  # larger squares are scaled down to this side; None for no limit
) -> Image.Image:
    """Return the part of `image` in `square`; the image is reflected at its edges."""
    x0, y0, x1, y1 = square
    inside = (max(x0, 0), max(y0, 0), min(x1, image.width), min(y1, image.height))
    crop = image.crop(inside)
    if inside != square:
        beyond = ((inside[1] - y0, y1 - inside[3]), (inside[0] - x0, x1 - inside[2]), (0, 0))
        crop = Image.fromarray(np.pad(np.asarray(crop), beyond, mode="reflect"))
    if largest and crop.width > largest:
        crop = crop.resize((largest, largest), Image.Resampling.LANCZOS)
    return crop
