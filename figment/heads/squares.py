"""Squares around heads, cut so that no crop ever holds padding of one colour."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from figment.base.records import Box

Square = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels of the picture; as wide as high; may leave the picture (see `square_around`)."""


def square_around(
    box: Box,  # the head
    size: tuple[int, int],  # the picture's width and height
    margin: float,  # room on each side, as a share of the head's longer side
) -> Square:
    """The square to cut for a head: with its margin, inside the picture, holding the head.

    Where the square leaves the picture it is shifted inside; where it is larger than the picture it shrinks to
    the largest that fits. Only if that is too small for the head itself does it stay larger than the picture,
    by as little as holds the head, and `cut_square` then continues the picture by reflection.
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
    largest: int | None = None,  # scale larger squares down to this side by Lanczos; None: never
) -> Image.Image:
    """The part of `image` in `square`; beyond the picture's edges the picture is reflected."""
    x0, y0, x1, y1 = square
    inside = (max(x0, 0), max(y0, 0), min(x1, image.width), min(y1, image.height))
    crop = image.crop(inside)
    if inside != square:
        beyond = ((inside[1] - y0, y1 - inside[3]), (inside[0] - x0, x1 - inside[2]), (0, 0))
        crop = Image.fromarray(np.pad(np.asarray(crop), beyond, mode="reflect"))
    if largest and crop.width > largest:
        crop = crop.resize((largest, largest), Image.Resampling.LANCZOS)
    return crop
