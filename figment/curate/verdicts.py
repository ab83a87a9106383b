"""From measures and thresholds to verdicts: pure functions, so other thresholds need no second look at a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from figment.base.errors import FigmentError
from figment.base.records import Head, Verdict
from figment.curate.duplicates import WIDEST, join_groups

Measures = Mapping[str, float | str]
Pairs = Sequence[tuple[int, int, float]]


@dataclass(frozen=True)
class Thresholds:
    """What a head must reach to be kept."""

    min_size: float = 48.0
    """Least size of a head in its picture, before any scaling: its longer side in pixels."""
    min_sharpness: float = 0.2
    """Least sharpness, 0 to 1: clean art has 0.6 and more, clearly blurred art less than 0.2."""
    min_contrast: float = 24.0
    """Least difference between the lightest and the darkest parts, 0 to 255; below it a crop is flat."""
    min_brightness: float = 48.0
    """Least brightness of the lightest parts, 0 to 255; below it a crop is dark."""
    min_headness: float = 0.4
    """Least confidence of the detector that this is a head, 0 to 1."""
    max_difference: float = 14.0
    """Copies of one picture differ by no more than this at any spot, 0 to 30; 0 keeps all but the most exact copies."""

    def __post_init__(self) -> None:
        limits = {"min_size": 1e6, "min_sharpness": 1.0, "min_contrast": 255.0, "min_brightness": 255.0,
                  "min_headness": 1.0, "max_difference": WIDEST}
        wrong = [f"--{name.replace('_', '-')} {getattr(self, name)}: must be 0 to {most:g}"
                 for name, most in limits.items() if not 0 <= getattr(self, name) <= most]
        if wrong:
            raise FigmentError("; ".join(wrong))


RULES = (
    ("too-small", "size", "min_size"),
    ("blurred", "sharpness", "min_sharpness"),
    ("flat", "contrast", "min_contrast"),
    ("dark", "brightness", "min_brightness"),
    ("not-a-head", "headness", "min_headness"),
)
"""Reason, measure and threshold; the first rule that a crop fails gives its reason."""


def judge(
    heads: Iterable[Head],
    measures: Mapping[int, Measures],        # head id -> measures; a head without any is missing or damaged
    pairs: Pairs,                            # ids of two crops and how much they differ
    thresholds: Thresholds,
    *,
    broken: Mapping[int, str] | None = None,       # head id -> what is wrong with its file; None: nothing
    decided: Mapping[int, Verdict] | None = None,  # what people decided, which a group of copies follows; None: nothing
) -> list[Verdict]:
    """A verdict for every head, in the order of `heads`."""
    heads, broken, decided = list(heads), broken or {}, decided or {}
    verdicts = {head.id: judge_alone(head, measures.get(head.id, {}), thresholds, broken.get(head.id, ""))
                for head in heads}
    by_id = {head.id: head for head in heads}

    # Of each group of copies keep the best; a copy that fails a rule of its own keeps its own reason.
    for group in join_groups(pairs, thresholds.max_difference):
        usable = [by_id[head_id] for head_id in group if _may_stand(verdicts[head_id], decided.get(head_id))]
        if not usable:
            continue
        best = min(usable, key=lambda head: _rank(head, decided))
        for head in usable:
            if head is not best:
                verdicts[head.id] = Verdict(head.id, "reject", "duplicate", f"of {best.file}")
    return list(verdicts.values())


def judge_alone(
    head: Head,
    measures: Measures,
    thresholds: Thresholds,
    broken: str,             # what is wrong with its file; empty: nothing
) -> Verdict:
    """The verdict on one crop, whatever other crops there are."""
    if broken or not measures:
        return Verdict(head.id, "reject", "unreadable", broken or "not measured")
    for reason, name, threshold in RULES:
        value, least = float(measures[name]), getattr(thresholds, threshold)
        if value < least:
            return Verdict(head.id, "reject", reason, f"{name} {value:.4g} < {least:g}")
    return Verdict(head.id, "keep")


def _may_stand(rule: Verdict, person: Verdict | None) -> bool:
    """Whether a crop may stand for its group: a person's word counts before the rules'."""
    return (person or rule).verdict == "keep"


def _rank(head: Head, decided: Mapping[int, Verdict]) -> tuple[bool, float, float, str]:
    """The smallest is the best: kept by a person, the largest in its source, the surest, the first by name."""
    return head.id not in decided, -max(head.box.width, head.box.height), -head.score, head.file
