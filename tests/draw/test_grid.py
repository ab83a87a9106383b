"""Grids: every picture lands in its place, for grey, RGB and RGBA."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figment.base.errors import FigmentError
from figment.draw.grid import SQUARES, grid_shape, make_grid, on_squares


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_every_picture_lands_in_its_place(channels, mode):
    images = np.random.RandomState(0).randint(0, 256, (7, channels, 5, 4)).astype(np.uint8)
    grid = make_grid(images, columns=3)
    assert (grid.mode, grid.size) == (mode, (12, 15))
    pixels = np.asarray(grid).reshape(15, 12, channels)
    for index, image in enumerate(images):
        row, column = divmod(index, 3)
        tile = pixels[row * 5 : row * 5 + 5, column * 4 : column * 4 + 4]
        assert (tile == image.transpose(1, 2, 0)).all()
    assert not pixels[10:, 4:].any()


def test_few_pictures_make_a_narrow_grid():
    assert make_grid(np.zeros((2, 3, 8, 8), np.uint8), columns=8).size == (16, 8)


def test_transparent_pictures_are_laid_over_squares():
    images = np.zeros((1, 4, 32, 32), np.uint8)
    images[0, 0, :16], images[0, 3, :16], images[0, 3, 8:16] = 200, 255, 128
    shown = on_squares(images)[0]
    assert shown.shape == (3, 32, 32) and shown[:, 0, 0].tolist() == [200, 0, 0]
    assert sorted(set(shown[0, 16:].flatten().tolist())) == list(SQUARES)
    assert shown[0, 8, 0] == round(200 * 128 / 255 + int(shown[0, 16, 0]) * 127 / 255)
    opaque = images[:, :3]
    assert on_squares(opaque) is opaque


def test_shape_is_columns_then_rows():
    assert grid_shape("8x4") == (8, 4)
    assert grid_shape(" 1 X 12 ") == (1, 12)


@pytest.mark.parametrize("text", ["8", "0x4", "8x", "-1x2", "8x1001", "axb", "8x8x8", ""])
def test_a_bad_shape_names_flag_and_value(text):
    with pytest.raises(FigmentError, match="--grid") as error:
        grid_shape(text)
    assert repr(text) in str(error.value)


@given(st.text(max_size=12) | st.from_regex(r"\s*\d{1,5}\s*[xX]\s*\d{1,5}\s*", fullmatch=True))
def test_any_text_is_a_shape_or_refused_in_one_line(text):
    try:
        columns, rows = grid_shape(text, "--grid")
    except FigmentError as error:
        assert str(error).startswith("--grid ") and "each from 1 to 1000" in str(error)
        assert len(str(error).splitlines()) == 1
    else:
        assert 1 <= columns <= 1000 and 1 <= rows <= 1000
        assert grid_shape(f"{columns}x{rows}") == (columns, rows)
