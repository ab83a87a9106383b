import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figment.base.errors import FigmentError
from figment.base.parse import UNITS, clock, parse_duration, parse_pair, parse_seeds, seeds_to_z


def test_a_seed_gives_the_latent_of_stylegans_tools():
    assert np.array_equal(seeds_to_z([3], 16)[0], np.random.RandomState(3).randn(16))


def test_lists_and_ranges():
    assert parse_seeds("0-3,7") == [0, 1, 2, 3, 7]


@pytest.mark.parametrize(
    "text", ["", "a", "5-2", "-1", "1,,2", "4294967296", "1e3", "nan", "²", "٣", "0-100000", "0-4294967295", "9" * 5000]
)
def test_bad_seeds_name_the_flag(text):
    with pytest.raises(FigmentError, match="--seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(("text", "sec"), [("8h", 28800), ("90m", 5400), ("1h30m", 5400), ("1.5h", 5400), ("45s", 45)])
def test_durations(text, sec):
    assert parse_duration(text) == sec


@pytest.mark.parametrize(
    "text", ["", "8", "h", "1h 30m", "-3h", "0s", "nanh", "infs", "1e3s", "1001d", "٣h", "9" * 400 + "h"]
)
def test_bad_durations_name_the_flag(text):
    with pytest.raises(FigmentError, match="--time"):
        parse_duration(text)


def test_a_list_may_name_many_seeds():
    assert len(parse_seeds("0-99999")) == 100_000
    with pytest.raises(FigmentError, match=r"--rows '0-49999,0-50000': must be at most 100000 seeds"):
        parse_seeds("0-49999,0-50000", "--rows")


@given(st.lists(st.tuples(st.integers(0, 2**32 - 100), st.integers(0, 99)), min_size=1, max_size=9))
def test_written_seeds_are_read_back(ranges):
    text = ",".join(f"{first}-{first + more}" if more else str(first) for first, more in ranges)
    assert parse_seeds(text) == [seed for first, more in ranges for seed in range(first, first + more + 1)]


@given(st.dictionaries(st.sampled_from("dhms"), st.integers(0, 99), min_size=1))
def test_written_durations_are_read_back(parts):
    text, sec = "".join(f"{n}{unit}" for unit, n in parts.items()), sum(n * UNITS[unit] for unit, n in parts.items())
    if sec:
        assert parse_duration(text) == sec
    else:
        with pytest.raises(FigmentError, match="above zero"):
            parse_duration(text)


@given(st.text(max_size=30) | st.text("0123456789-,. dhmsx", max_size=30))
def test_any_text_is_read_or_refused_in_one_line(text):
    for parse, fine in (
        (parse_seeds, lambda found: found and all(0 <= seed < 2**32 for seed in found)),
        (parse_duration, lambda found: 0 < found <= 1000 * 86400),
    ):
        try:
            assert fine(parse(text, "--flag"))
        except FigmentError as error:
            assert str(error).startswith("--flag '") or str(error).startswith('--flag "')
            assert len(str(error).splitlines()) == 1 and "must be" in str(error)


def test_clock():
    assert (clock(200), clock(3720)) == ("3m20s", "1h02m")


def test_pairs():
    assert parse_pair("0.5,-1", "--shift") == (0.5, -1.0)
    for text in ("0.5", "1,2,3", "a,b", "0,1.5", "nan,0", ""):
        with pytest.raises(FigmentError, match=r"--shift '.*': must be two numbers from -1 to 1"):
            parse_pair(text, "--shift")
