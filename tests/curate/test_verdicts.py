"""Verdicts: each rule has its reason, and of copies the best one is kept."""

import pytest

from figment.base.errors import FigmentError
from figment.base.records import Box, Head, Verdict
from figment.curate.verdicts import Thresholds, judge

GOOD = {
    "size": 100.0,
    "true_size": 90.0,
    "sharpness": 0.7,
    "blocking": 0.1,
    "contrast": 150.0,
    "brightness": 240.0,
    "headness": 0.9,
    "cut": 0.0,
}


def head(number, size=100.0, score=0.9):
    return Head(f"{number}.png", Box(0, 0, size, size), score, (0, 0, 1, 1), number)


def reasons(*args, **more):
    return {verdict.head_id: verdict.reason for verdict in judge(*args, **more)}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("size", 47.0, "too-small"),
        ("sharpness", 0.1, "blurred"),
        ("contrast", 10.0, "flat"),
        ("brightness", 20.0, "dark"),
        ("headness", 0.3, "not-a-head"),
        ("true_size", 30.0, "enlarged"),
        ("blocking", 3.0, "jpeg"),
        ("cut", 0.5, "cut-off"),
    ],
)
def test_each_rule_has_its_reason_and_shows_the_figures(name, value, reason):
    (verdict,) = judge([head(1)], {1: {**GOOD, name: value}}, [], Thresholds())
    assert (verdict.verdict, verdict.reason, verdict.by) == ("reject", reason, "rule")
    assert verdict.detail.startswith(f"{name} {value:g} {'>' if name in ('blocking', 'cut') else '<'} ")


def test_a_good_head_is_kept_and_zero_thresholds_keep_all():
    assert judge([head(1)], {1: GOOD}, [], Thresholds()) == [Verdict(1, "keep")]
    worst = dict.fromkeys(GOOD, 0.0)
    lax = Thresholds(0, 0, 0, 255, 0, 0, 0, 1)
    assert judge([head(1)], {1: worst}, [], lax) == [Verdict(1, "keep")]


def test_of_copies_the_largest_is_kept_then_the_surest_then_the_first():
    measures = dict.fromkeys((1, 2, 3), GOOD)
    pairs = [(1, 2, 1.0), (2, 3, 1.0)]
    for heads, best in (
        ([head(1), head(2, 120), head(3)], 2),
        ([head(1), head(2), head(3, score=0.95)], 3),
        ([head(1), head(2), head(3)], 1),
    ):
        verdicts = judge(heads, measures, pairs, Thresholds())
        assert [verdict.head_id for verdict in verdicts if verdict.verdict == "keep"] == [best]
        assert all(verdict.detail == f"of {best}.png" for verdict in verdicts if verdict.verdict == "reject")


def test_a_copy_that_fails_a_rule_never_stands_for_its_group():
    measures = {1: {**GOOD, "sharpness": 0.1}, 2: GOOD}
    assert reasons([head(1, 200), head(2)], measures, [(1, 2, 1.0)], Thresholds()) == {1: "blurred", 2: ""}


def test_a_group_follows_what_people_decided():
    measures, pairs = dict.fromkeys((1, 2), GOOD), [(1, 2, 1.0)]
    heads = [head(1, 200), head(2)]
    kept = {2: Verdict(2, "keep", by="person")}
    assert reasons(heads, measures, pairs, Thresholds(), decided=kept) == {1: "duplicate", 2: ""}
    rejected = {1: Verdict(1, "reject", "ugly", by="person")}
    assert reasons(heads, measures, pairs, Thresholds(), decided=rejected)[2] == ""


def test_pairs_beyond_the_limit_are_no_copies():
    measures, pairs = dict.fromkeys((1, 2), GOOD), [(1, 2, 15.0)]
    assert reasons([head(1), head(2)], measures, pairs, Thresholds()) == {1: "", 2: ""}
    assert reasons([head(1), head(2)], measures, pairs, Thresholds(max_difference=16)) == {1: "", 2: "duplicate"}


def test_a_broken_file_says_what_is_wrong():
    (verdict,) = judge([head(1)], {1: GOOD}, [], Thresholds(), broken={1: "missing file"})
    assert (verdict.reason, verdict.detail) == ("unreadable", "missing file")


def test_wrong_thresholds_are_told_all_at_once():
    with pytest.raises(FigmentError) as error:
        Thresholds(min_size=-1, min_headness=2)
    assert "--min-size -1: must be" in str(error.value) and "--min-headness 2: must be 0 to 1" in str(error.value)
