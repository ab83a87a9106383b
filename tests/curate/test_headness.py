"""Headness: the detector's confidence becomes a measure, unless the crop stage looked at the crop itself."""

from figment.base.records import Box, Head
from figment.curate.headness import measure_headness


def test_headness_is_the_detectors_score():
    assert measure_headness(Head("a.png", Box(0, 0, 1, 1), 0.123456, (0, 0, 1, 1))) == {"headness": 0.1235}


def test_what_the_crop_stage_said_of_the_crop_stands():
    head = Head("a.png", Box(0, 0, 1, 1), 0.9, (0, 0, 1, 1))
    assert measure_headness(head, {"headness": 0.2, "embedding": "00"}) == {}
    assert measure_headness(head, {"headness": 0.2}) == {"headness": 0.9}
