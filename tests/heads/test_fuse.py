"""Several looks at a picture as one."""

import pytest

from figment.base.records import Box
from figment.heads.fuse import fuse, mirror_box

HEAD, NEAR, OTHER = Box(10, 10, 50, 50), Box(12, 10, 52, 50), Box(100, 10, 140, 50)


def test_one_head_of_two_looks_is_one_box_between_them() -> None:
    [(box, score)] = fuse([[(HEAD, 0.9)], [(NEAR, 0.3)]])
    assert box == pytest.approx(Box(10.5, 10, 50.5, 50))
    assert score == pytest.approx(0.6)


def test_what_one_look_alone_finds_counts_less() -> None:
    found = dict(fuse([[(HEAD, 0.8), (OTHER, 0.8)], [(HEAD, 0.8)]]))
    assert found[HEAD] == pytest.approx(0.8) and found[OTHER] == pytest.approx(0.4)


def test_a_single_look_stays_as_it_is() -> None:
    assert fuse([[(HEAD, 0.7), (OTHER, 0.2)]]) == [(HEAD, 0.7), (OTHER, 0.2)]
    assert fuse([[], []]) == []


def test_a_box_is_mirrored_in_its_picture() -> None:
    assert mirror_box(HEAD, 200) == Box(150, 10, 190, 50)
    assert mirror_box(mirror_box(HEAD, 200), 200) == HEAD
