import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.parse import clock, parse_duration, parse_seeds, seeds_to_z


def test_a_seed_gives_the_latent_of_stylegans_tools():
    assert np.array_equal(seeds_to_z([3], 16)[0], np.random.RandomState(3).randn(16))


def test_lists_and_ranges():
    assert parse_seeds("0-3,7") == [0, 1, 2, 3, 7]


@pytest.mark.parametrize("text", ["", "a", "5-2", "-1", "1,,2", "4294967296"])
def test_bad_seeds_name_the_flag(text):
    with pytest.raises(FigmentError, match="--seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(("text", "sec"), [("8h", 28800), ("90m", 5400), ("1h30m", 5400), ("1.5h", 5400), ("45s", 45)])
def test_durations(text, sec):
    assert parse_duration(text) == sec


@pytest.mark.parametrize("text", ["", "8", "h", "1h 30m", "-3h", "0s"])
def test_bad_durations_name_the_flag(text):
    with pytest.raises(FigmentError, match="--time"):
        parse_duration(text)


def test_clock():
    assert (clock(200), clock(3720)) == ("3m20s", "1h02m")
