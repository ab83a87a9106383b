"""Scoring boxes against truth, by cases worked by hand."""

import json
from pathlib import Path

import pytest

from figment.base.errors import FigmentError
from figment.base.records import Box
from figment.heads.boxes import read_boxes
from figment.heads.metrics import Truth, match_boxes, read_truth, score_boxes

LEFT, RIGHT, FAR = Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(50, 50, 60, 60)


def entry(box: Box, score: float) -> list[float]:
    return [*box, score]


def test_average_precision_of_a_curve_worked_by_hand() -> None:
    # Best first: hit, miss, hit, and one head is never found.
    truth = Truth({"a.png": [LEFT, RIGHT], "b.png": [FAR]})
    found = {"a.png": [entry(LEFT, 0.9), entry(Box(70, 70, 80, 80), 0.8)], "b.png": [entry(FAR, 0.7)]}
    scores = score_boxes(found, truth)
    # Recall 1/3 at precision 1, recall 2/3 at precision 2/3: 1/3 * 1 + 1/3 * 2/3.
    assert scores.ap50 == pytest.approx(1 / 3 + 2 / 9)
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.recall_at_90 == pytest.approx(1 / 3)
    assert (scores.heads, scores.boxes) == (3, 3)


def test_a_dip_in_precision_is_filled() -> None:
    # Miss at the top, then two hits: precision 0, 1/2, 2/3; made falling it is 2/3 throughout.
    truth = Truth({"a": [LEFT, RIGHT]})
    found = {"a": [entry(FAR, 0.9), entry(LEFT, 0.8), entry(RIGHT, 0.7)]}
    assert score_boxes(found, truth).ap50 == pytest.approx(2 / 3)
    assert score_boxes(found, truth).recall_at_90 == 0


def test_boxes_of_one_score_do_not_depend_on_their_order() -> None:
    hit, miss = {"a": [entry(LEFT, 0.5)]}, {"b": [entry(FAR, 0.5)]}
    truth = Truth({"a": [LEFT], "b": []})
    turned = Truth({"b": [], "a": [LEFT]})
    assert score_boxes(hit | miss, truth) == score_boxes(hit | miss, turned)
    assert score_boxes(hit | miss, truth).ap50 == pytest.approx(0.5)


def test_a_head_is_found_once_and_only_by_enough_overlap() -> None:
    double = match_boxes([entry(LEFT, 0.9), entry(LEFT, 0.8)], [LEFT], [])
    assert double == [(0.9, True), (0.8, False)]
    shifted = Box(0, 0, 10, 20)  # intersection 100, union 200
    assert match_boxes([entry(shifted, 0.9)], [LEFT], [], iou=0.5) == [(0.9, True)]
    assert match_boxes([entry(shifted, 0.9)], [LEFT], [], iou=0.51) == [(0.9, False)]


def test_a_box_on_an_ignored_head_counts_for_nothing() -> None:
    truth = Truth({"a": [LEFT]}, {"a": [FAR]})
    scores = score_boxes({"a": [entry(LEFT, 0.9), entry(FAR, 0.95)]}, truth)
    assert (scores.ap50, scores.precision, scores.boxes) == (1.0, 1.0, 1)


def test_nothing_found_scores_nothing() -> None:
    scores = score_boxes({}, Truth({"a": [LEFT]}))
    assert (scores.ap50, scores.recall, scores.precision, scores.heads) == (0, 0, 0, 1)


def test_truth_of_demo_art_leaves_out_what_is_unusable(tmp_path: Path) -> None:
    rows = {
        "a.png": {
            "kind": "scene",
            "usable": True,
            "of": None,
            "boxes": [[0, 0, 9, 9], [1, 1, 3, 3]],
            "too_small": [False, True],
        },
        "bad.jpg": {"kind": "truncated", "usable": False, "of": None, "boxes": [[0, 0, 9, 9]], "too_small": [False]},
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"pictures": rows}))
    truth = read_truth(path)
    assert truth.heads == {"a.png": [Box(0, 0, 9, 9)]}
    assert truth.ignored == {"a.png": [Box(1, 1, 3, 3)]}


@pytest.mark.parametrize("text", ["[]", '{"pictures": {"a": {}}}', "{", '{"pictures": 3}'])
def test_a_damaged_truth_is_one_line_with_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(FigmentError, match=r"truth\.json: not a") as caught:
        read_truth(path)
    assert "\n" not in str(caught.value)


def test_boxes_are_read_back_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text('{"a.png": [[1, 2, 3, 4, 0.5]]}')
    assert read_boxes(path) == {"a.png": [[1, 2, 3, 4, 0.5]]}
    path.write_text('{"a.png": [[1, 2]]}')
    with pytest.raises(FigmentError, match=r"boxes\.json"):
        read_boxes(path)
