import pytest

from figment.base.durations import clock, parse_duration
from figment.base.errors import FigmentError


@pytest.mark.parametrize(("text", "sec"), [("8h", 28800), ("90m", 5400), ("1h30m", 5400), ("1.5h", 5400), ("45s", 45)])
def test_durations(text, sec):
    assert parse_duration(text) == sec


@pytest.mark.parametrize("text", ["", "8", "h", "1h 30m", "-3h", "0s"])
def test_bad_durations_name_the_flag(text):
    with pytest.raises(FigmentError, match="--time"):
        parse_duration(text)


def test_clock():
    assert (clock(200), clock(3720)) == ("3m20s", "1h02m")
