"""Recolouring: the turn of hue is found again in both ways, and fits no picture of another's colours."""

import numpy as np
import pytest

from figment.curate.recolour import find_turn, turn_hue


def patches(seed=0):
    return np.random.RandomState(seed).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("way", [0, 1])
def test_a_turn_is_found_again(way):
    images = 60 + 0.4 * patches()
    turned = turn_hue(images, np.array([40.0, 170.0, 301.0]), np.full(3, way))
    degrees, ways, left = find_turn(turned, images)
    assert (ways == way).all() and left.max() < 4
    assert np.abs(degrees % 360 - [40, 170, 301]).max() < 3


def test_other_pictures_fit_no_turn():
    assert find_turn(patches(), patches(1))[2].min() > 40


def test_no_turn_changes_nothing_and_grey_stays_grey():
    images = patches()
    for way in (0, 1):
        assert np.abs(turn_hue(images, np.zeros(3), np.full(3, way)) - images).max() < 0.1
        grey = np.full((1, 4, 4, 3), 77, np.float32)
        assert np.abs(turn_hue(grey, np.array([90.0]), np.array([way])) - 77).max() < 0.1


def test_no_pictures_have_no_turns():
    assert [len(each) for each in find_turn(patches()[:0], patches()[:0])] == [0, 0, 0]
