"""Quality: clean cartoon art is sharp whatever its size, blurred art is not, flat and dark crops show in figures."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from figment.base.records import Box, Head
from figment.curate.quality import measure_quality, sharpness
from figment.curate.verdicts import Thresholds
from tests.curate.conftest import STYLES, crop, picture

HEAD = Head("a.png", Box(10, 10, 70, 95.5), 0.9, (0, 0, 100, 100))


def measure(image):
    return measure_quality(image, HEAD)


def test_size_is_the_longer_side_of_the_head_in_its_picture():
    assert measure(picture("micah", 0))["size"] == 85.5


@pytest.mark.parametrize("side", [60, 200, 500])
@pytest.mark.parametrize("style", STYLES)
def test_clean_art_is_far_from_the_threshold_and_blurred_art_below_it(style, side):
    image = crop(picture(style, 7, side), np.random.RandomState(0))
    blurred = image.filter(ImageFilter.GaussianBlur(max(3, 3 * image.width / 128)))
    assert measure(image)["sharpness"] > 2 * Thresholds().min_sharpness
    assert measure(blurred)["sharpness"] < Thresholds().min_sharpness


def test_sharpness_falls_with_blur():
    image = crop(picture("avataaars", 3), np.random.RandomState(0))
    found = [measure(image.filter(ImageFilter.GaussianBlur(radius)))["sharpness"] for radius in (0, 1, 2, 4, 8)]
    assert found == sorted(found, reverse=True)


def test_an_empty_crop_has_no_sharpness_and_no_contrast():
    assert sharpness(np.full((32, 32), 80, np.float32)) == 0
    found = measure(Image.new("RGB", (64, 64), (20, 20, 20)))
    assert found["contrast"] == 0 and found["brightness"] == 20
