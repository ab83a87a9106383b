import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.seeds import parse_seeds, seeds_to_z


def test_a_seed_is_what_the_fields_tools_draw():
    assert np.array_equal(seeds_to_z([3], 16)[0], np.random.RandomState(3).randn(16))


def test_lists_and_ranges():
    assert parse_seeds("0-3,7") == [0, 1, 2, 3, 7]


@pytest.mark.parametrize("text", ["", "a", "5-2", "-1", "1,,2", "4294967296"])
def test_bad_seeds_name_the_flag(text):
    with pytest.raises(FigmentError, match="--seeds"):
        parse_seeds(text)
