"""The thresholds that a catalog was judged by, and how near to one of them a head's figures lie."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping

from figment.curate.verdicts import RULES, Thresholds

MOST = {str(rule[1]) for rule in RULES if str(rule[2]).startswith("max")}
"""Measures whose threshold is the most they may be; for the others it is the least."""
NEAR = 0.5
"""A figure that misses its threshold by half of it, or more, is beyond doubt."""
DETAIL = re.compile(r"(\w+) [-+.\de]+ [<>] ([-+.\de]+)")


def limits_in_force(db: sqlite3.Connection) -> dict[str, tuple[str, float]]:
    """Reason -> measure and threshold: as the newest rule verdicts tell them, the defaults where none tells."""
    found = {rule[0]: (str(rule[1]), float(getattr(Thresholds(), rule[2]))) for rule in RULES}
    rows = db.execute(
        "SELECT reason, detail, max(at) FROM verdicts WHERE by = 'rule' AND verdict = 'reject' GROUP BY reason"
    )
    for reason, detail, _ in rows:
        match = DETAIL.fullmatch(detail)
        if match:
            found[reason] = (match[1], float(match[2]))
    return found


def doubt(
    measures: Mapping[str, float],  # the head's figures
    reason: str,  # why it is rejected; empty: it is kept
    limits: Mapping[str, tuple[str, float]],  # reason -> measure and threshold
) -> float:
    """How near the verdict is to its opposite, 0 (beyond doubt) to 1 (on the threshold).

    A kept head is as doubtful as its nearest threshold; of a rejected one only the rule that it failed counts.
    """
    rules = limits.values() if not reason else [limits[reason]] if reason in limits else []
    nearest = 0.0
    for name, limit in rules:
        if name in measures and limit > 0:
            missed = abs(measures[name] - limit) / limit
            nearest = max(nearest, 1 - missed / NEAR)
    return nearest
