"""Headness: the detector's confidence becomes a measure."""

from figment.base.records import Box, Head
from figment.curate.headness import measure_headness


def test_headness_is_the_detectors_score():
    assert measure_headness(Head("a.png", Box(0, 0, 1, 1), 0.123456, (0, 0, 1, 1))) == {"headness": 0.1235}
