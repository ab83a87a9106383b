"""Damage: enlarged pictures resolve less than their pixels, JPEG's blocks are found where they began."""

import numpy as np
import pytest
from PIL import Image

from figment.curate.damage import blocking, resolved_share
from tests.curate.conftest import STYLES, crop, jpeg, picture


def grey(image):
    return np.asarray(image.convert("L"), np.float32)


@pytest.mark.parametrize("style", STYLES)
def test_art_at_its_own_size_resolves_its_pixels(style):
    assert resolved_share(grey(crop(picture(style, 3), np.random.RandomState(0)))) > 0.75


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("method", [Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS])
@pytest.mark.parametrize("quality", [0, 80])
def test_an_enlarged_picture_resolves_a_part(style, method, quality):
    image = picture(style, 3, 60)
    large = image.resize((4 * image.width,) * 2, method)
    if quality and method != Image.Resampling.NEAREST:
        large = jpeg(large, quality)
    assert 0.15 < resolved_share(grey(large)) < 0.45


def test_a_crop_without_any_edge_is_not_called_enlarged():
    assert resolved_share(np.full((40, 40), 7, np.float32)) == 1


@pytest.mark.parametrize("offset", [(0, 0), (3, 5)])
def test_blocks_show_on_their_grid_and_grow_as_quality_falls(offset):
    image = picture("adventurer", 3, ground=(150, 130, 90))
    found = []
    for quality in (95, 30, 10):
        whole = grey(jpeg(image, quality))
        found.append(blocking(whole[offset[1] :, offset[0] :], offset))
    assert found == sorted(found) and found[2] > 1 > found[0]
    assert blocking(grey(image)[offset[1] :, offset[0] :], offset) < 0.5


def test_a_tiny_crop_has_no_blocks():
    assert blocking(np.zeros((9, 9), np.float32), (0, 0)) == 0
