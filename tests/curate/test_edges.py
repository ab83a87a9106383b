"""Cut-off heads: clear of the border nothing is missing, half a face misses half."""

import pytest

from figment.base.records import Box, Head
from figment.curate.edges import cut_share


def share(*box, size=(200, 300)):
    return cut_share(Head("a.png", Box(*box), 0.9, (0, 0, 100, 100)), *size)


def test_a_head_clear_of_the_border_is_whole_whatever_its_shape():
    assert share(20, 20, 60, 150) == 0


def test_half_a_face_at_the_side_misses_about_half():
    assert share(0, 50, 50, 162) == pytest.approx(0.5, abs=0.01)
    assert share(150, 50, 200, 162) == pytest.approx(0.5, abs=0.01)


def test_the_lower_half_of_a_face_misses_about_half_and_a_hat_at_the_border_nothing():
    assert share(50, 0, 150, 56) == pytest.approx(0.5, abs=0.01)
    assert share(50, 0, 150, 115) == 0


def test_what_reaches_beyond_the_border_is_missing():
    assert share(-50, 50, 50, 150) >= 0.5


def test_a_picture_of_unknown_size_cuts_nothing():
    assert share(0, 0, 10, 100, size=(None, None)) == 0
