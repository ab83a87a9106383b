"""From measures and thresholds to verdicts: pure functions, so other thresholds need no second look at a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from figment.base.errors import FigmentError
from figment.base.records import Head, Verdict

Measures = Mapping[str, float | str]
Pairs = Sequence[tuple[int, int, float]]


@dataclass(frozen=True)
class Thresholds:
    """Thresholds that a head must meet to be accepted."""

    min_size: float = 48.0
    """Minimum size of a head in its picture: its longer side in pixels, before any scaling."""
    min_true_size: float = 40.0
    """Minimum size of a head by the detail in it, in pixels: in an enlarged picture, about its original size."""
    min_sharpness: float = 0.2
    """Minimum sharpness, from 0 to 1. Clean art has 0.6 or more, clearly blurred art less than 0.2."""
    max_blocking: float = 1.6
    """Maximum visibility of JPEG blocks, in gray levels. Quality 90 has up to 0.9, quality 25 has 1.7 or more."""
    min_contrast: float = 24.0
    """Minimum difference between the lightest and the darkest parts, from 0 to 255; below it, a crop counts as flat."""
    min_brightness: float = 48.0
    """Minimum brightness of the lightest parts, from 0 to 255; below it, a crop counts as dark."""
    min_headness: float = 0.4
    """Minimum confidence that a crop shows a head, from 0 to 1: measured on the crop, or else the detector's score."""
    max_cut: float = 0.3
    """Maximum share of a head that the border of its picture cuts off, from 0 to 1."""
    max_difference: float = 14.0
    """Maximum difference of two crops at any spot, from 0 to 30, up to which they count as copies and only the best is
    kept. 0 finds exact copies only."""

    def __post_init__(self) -> None:
        from figment.curate.duplicates import WIDEST  # here, since the command line needs the fields without numpy

        limits = {
            "min_size": 1e6,
            "min_true_size": 1e6,
            "min_sharpness": 1.0,
            "max_blocking": 255.0,
            "min_contrast": 255.0,
            "min_brightness": 255.0,
            "min_headness": 1.0,
            "max_cut": 1.0,
            "max_difference": WIDEST,
        }
        wrong = [
            f"--{name.replace('_', '-')} {getattr(self, name)}: must be 0 to {most:g}"
            for name, most in limits.items()
            if not 0 <= getattr(self, name) <= most
        ]
        if wrong:
            raise FigmentError("; ".join(wrong))


RULES = (
    ("too-small", "size", "min_size"),
    ("dark", "brightness", "min_brightness"),
    ("flat", "contrast", "min_contrast"),
    ("blurred", "sharpness", "min_sharpness"),
    ("enlarged", "true_size", "min_true_size"),
    ("jpeg", "blocking", "max_blocking"),
    ("not-a-head", "headness", "min_headness"),
    ("cut-off", "cut", "max_cut"),
)
"""Reason, measure and threshold (a least or, by its name, a most); the first that a crop fails gives its reason."""
FIGURES = tuple(rule[1] for rule in RULES)
"""The measures that rules look at."""


def fails(
    value: float,
    threshold: str,  # a field of Thresholds
    thresholds: Thresholds,
) -> bool:
    """Whether a figure lies on the wrong side of its threshold."""
    limit = float(getattr(thresholds, threshold))
    return value > limit if threshold.startswith("max_") else value < limit


def judge(
    heads: Iterable[Head],
    measures: Mapping[int, Measures],  # head id -> measures; a head without any is missing or damaged
    pairs: Pairs,  # ids of two crops and how much they differ
    thresholds: Thresholds,
    *,
    broken: Mapping[int, str] | None = None,  # head id -> what is wrong with its file; None: nothing
    decided: Mapping[int, Verdict] | None = None,  # what people decided, which a group of copies follows; None: nothing
) -> list[Verdict]:
    """A verdict for every head, in the order of `heads`."""
    heads, broken, decided = list(heads), broken or {}, decided or {}
    verdicts = {
        head.id: judge_alone(head, measures.get(head.id, {}), thresholds, broken.get(head.id, "")) for head in heads
    }
    by_id = {head.id: head for head in heads}

    # Of each group of copies keep the best; a copy that fails a rule of its own keeps its own reason.
    for head_id, best in best_of_groups(heads, pairs, thresholds, verdicts, decided).items():
        if head_id != best and _may_stand(verdicts[head_id], decided.get(head_id)):
            verdicts[head_id] = Verdict(head_id, "reject", "duplicate", f"of {by_id[best].file}")
    return list(verdicts.values())


def best_of_groups(
    heads: Iterable[Head],
    pairs: Pairs,
    thresholds: Thresholds,
    verdicts: Mapping[int, Verdict],  # of the rules: who fails one can't be the best of those who don't
    decided: Mapping[int, Verdict],  # of people
) -> dict[int, int]:
    """Head id -> the id of the best of its group of copies, for every head in a group of two and more."""
    from figment.curate.duplicates import join_groups

    by_id = {head.id: head for head in heads}
    best: dict[int, int] = {}
    for group in join_groups(pairs, thresholds.max_difference):
        usable = [by_id[head_id] for head_id in group if _may_stand(verdicts[head_id], decided.get(head_id))]
        top = min(usable or [by_id[head_id] for head_id in group], key=lambda head: _rank(head, decided))
        best |= dict.fromkeys(group, top.id)
    return best


def judge_alone(
    head: Head,
    measures: Measures,
    thresholds: Thresholds,
    broken: str,  # what is wrong with its file; empty: nothing
) -> Verdict:
    """The verdict on one crop, whatever other crops there are."""
    if broken or not measures:
        return Verdict(head.id, "reject", "unreadable", broken or "not measured")
    for reason, name, threshold in RULES:
        value, limit = measures.get(name), getattr(thresholds, threshold)
        if value is not None and fails(float(value), threshold, thresholds):
            sign = ">" if threshold.startswith("max_") else "<"
            return Verdict(head.id, "reject", reason, f"{name} {float(value):.4g} {sign} {limit:g}")
    return Verdict(head.id, "keep")


def _may_stand(rule: Verdict, person: Verdict | None) -> bool:
    """Whether a crop may stand for its group: a person's word counts before the rules'."""
    return (person or rule).verdict == "keep"


def _rank(head: Head, decided: Mapping[int, Verdict]) -> tuple[bool, float, float, str]:
    """The smallest is the best: kept by a person, the largest in its source, the surest, the first by name."""
    return head.id not in decided, -max(head.box.width, head.box.height), -head.score, head.file
