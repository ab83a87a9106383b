"""Classes of heads by name, and boxes within their pictures."""

from pathlib import Path

import pytest

from figment.base.errors import FigmentError
from figment.heads.labels import (
    NAMED,
    Report,
    check_name,
    check_numbers,
    check_score,
    choose_classes,
    clip,
    head_classes,
)


@pytest.mark.parametrize(
    ("names", "heads"),
    [
        (["head", "hand"], {0}),
        (["Body", "Head"], {1}),
        (["anime_face", "eye"], {0}),
        (["AnimeHead", "AnimeBody"], {0}),
        (["animeface", "body"], {0}),
        (["face", "head"], {1}),
        (["head_left", "head_right", "tail"], {0, 1}),
        (["face mask", "face"], {1}),
        (["no_head", "head"], {1}),
        (["surface", "headphones", "forehead"], set()),
        (["person", "car"], set()),
        ([], set()),
    ],
)
def test_classes_of_heads_by_name(names, heads):
    assert head_classes(dict(enumerate(names))) == heads


def test_several_classes_need_one_called_head(capsys):
    file = Path("x.json")
    assert choose_classes(file, {1: "head", 2: "hand"}, {1: 5, 2: 3}) == {1}
    assert capsys.readouterr().out == "x.json: boxes of other classes left out (3): 'hand'\n"
    with pytest.raises(FigmentError, match=r"^x\.json: its classes are 'person', 'dog', 'car'; .* head or face$"):
        choose_classes(file, {1: "person", 2: "dog", 3: "car"}, {1: 5, 2: 3})
    with pytest.raises(FigmentError, match="no box is of 'head', all are of 'hand'"):
        choose_classes(file, {1: "head", 2: "hand"}, {2: 3})


def test_a_single_class_counts_whatever_its_name(capsys):
    assert set(choose_classes(Path("x.json"), {1: "girl", 2: "boy"}, {1: 5})) == {1}
    assert "'girl', which count as heads" in capsys.readouterr().out
    assert set(choose_classes(Path("x.json"), {}, {4: 5})) == {4}
    assert capsys.readouterr().out == ""
    assert set(choose_classes(Path("x.json"), {1: "head"}, {})) == set()


def test_boxes_are_cut_at_the_edge():
    assert clip([-2, 1, 5, 6, 0.5], (4, 8)) == ([0, 1, 4, 6, 0.5], 2)
    assert clip([0, 1, 5, 6], None) == ([0, 1, 5, 6], 0)
    assert clip([-3, 1, 5, 6], None) == ([0, 1, 5, 6], 3)


@pytest.mark.parametrize(
    ("box", "rule"),
    [
        ([3, 1, 3, 6], "x0 < x1"),
        ([3, 6, 5, 1], "y0 < y1"),
        ([0, 0, float("nan"), 1], "x0 < x1"),
        ([0, 0, float("inf"), 1], "x0 < x1"),
        ([4, 0, 6, 1], "outside of the picture of 4x8"),
        ([-4, 0, -1, 1], "outside"),
    ],
)
def test_boxes_that_show_nothing_are_refused(box, rule):
    with pytest.raises(ValueError, match=rule):
        clip(box, (4, 8))


@pytest.mark.parametrize("values", [[1], [1, 2, 3], "12", None, [1, "2"], [1, True], [1, float("nan")], [10**400, 1]])
def test_what_is_no_list_of_finite_numbers_is_refused(values):
    with pytest.raises(ValueError, match="must be"):
        check_numbers(values, (2,))


def test_names_and_scores_are_checked():
    assert check_name("ä/b.png") == "ä/b.png" and check_score(1) == 1
    for name in ("", "a\0b", "\ud800", 3, None):
        with pytest.raises(ValueError, match="not the name"):
            check_name(name)
    for score in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="0 to 1"):
            check_score(score)


def test_a_report_counts_and_names_items(capsys):
    report = Report(Path("x.json"))
    for item in range(NAMED + 2):
        report.add("lines left out, too long", item)
    report.tell()
    assert capsys.readouterr().out == (
        "x.json: lines left out, too long (12): 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more\n"
    )
    assert report.worst() == "lines left out, too long (12)"
