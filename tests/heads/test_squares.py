"""Crop squares stay inside the picture, hold the head, and are never padded with a colour."""

import numpy as np
import pytest
from PIL import Image

from figment.base.records import Box
from figment.heads.squares import cut_square, square_around


def test_margin_around_a_head_in_the_middle() -> None:
    assert square_around(Box(100, 100, 140, 120), (400, 400), 0.25) == (90, 80, 150, 140)


def test_a_square_that_leaves_the_picture_is_shifted_inside() -> None:
    x0, y0, x1, y1 = square_around(Box(0, 370, 40, 400), (400, 400), 0.5)
    assert (x0, y1) == (0, 400)
    assert x1 - x0 == y1 - y0 == 80


def test_a_square_larger_than_the_picture_shrinks_to_fit() -> None:
    assert square_around(Box(20, 10, 110, 95), (300, 100), 0.5) == (15, 0, 115, 100)


@pytest.mark.parametrize("seed", range(5))
def test_the_head_is_always_held(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(400):
        width, height = (int(v) for v in rng.integers(8, 300, 2))
        x0, y0 = rng.uniform(0, width - 4), rng.uniform(0, height - 4)
        box = Box(x0, y0, rng.uniform(x0 + 2, width), rng.uniform(y0 + 2, height))
        square = square_around(box, (width, height), float(rng.uniform(0, 0.6)))
        assert square[2] - square[0] == square[3] - square[1] > 0
        assert square[0] <= box.x0 + 1 and square[1] <= box.y0 + 1
        assert square[2] >= box.x1 - 1 and square[3] >= box.y1 - 1
        if max(box.width, box.height) <= min(width, height):
            assert square[0] >= 0 and square[1] >= 0 and square[2] <= width and square[3] <= height


def test_a_head_longer_than_the_picture_is_wide_is_reflected_not_padded() -> None:
    pixels = np.random.default_rng(0).integers(60, 255, (200, 50, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    square = square_around(Box(0, 40, 50, 160), image.size, 0.25)
    assert square == (-35, 40, 85, 160)
    crop = np.asarray(cut_square(image, square))
    assert crop.shape == (120, 120, 3)
    assert crop.min() >= 60
    assert (crop[:, 35:85] == pixels[40:160]).all()
    assert (crop[:, 34] == crop[:, 36]).all()  # mirrored at the picture's edge


def test_a_picture_one_pixel_wide_still_gives_a_square() -> None:
    image = Image.new("RGB", (1, 30), (200, 10, 10))
    crop = cut_square(image, square_around(Box(0, 5, 1, 25), image.size, 0.2))
    assert crop.size == (20, 20)
    assert crop.getcolors() == [(400, (200, 10, 10))]


def test_large_crops_are_scaled_down() -> None:
    image = Image.new("RGB", (900, 900))
    assert cut_square(image, (0, 0, 800, 800), 256).size == (256, 256)
    assert cut_square(image, (0, 0, 200, 200), 256).size == (200, 200)
