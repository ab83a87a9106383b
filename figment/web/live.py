"""Read what a run shows while it trains: its curves, scores and grids of fakes."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

POINTS = 400
"""Most points of a curve; longer curves are thinned, but keep their last point."""
FAKES = re.compile(r"img[0-9]{9}\.png")
NOT_CURVES = ("tick", "kimg")
"""Numbers that are not drawn as curves."""


def read_live(run: Path) -> dict[str, Any]:
    """Return the progress of a run: curves by name (lists of [kimg, value]), advice as [kimg, line], names of grids."""
    stats, scores = _rows(run / "stats.jsonl"), _rows(run / "scores.jsonl")
    goal = _plan(run)
    last = stats[-1] if stats else {}
    return {
        "run": run.name,
        "kimg": last.get("kimg", 0),
        "goal_kimg": goal,
        "sec": last.get("sec", 0),
        "sec_per_kimg": last.get("sec_per_kimg"),
        "stats": _curves(stats),
        "scores": _curves([row for row in scores if row.get("label") == scores[-1].get("label")]),
        "advice": [[row["kimg"], line] for row in stats for line in _advice(row)],
        "fakes": sorted(path.name for path in (run / "fakes").glob("img*.png") if FAKES.fullmatch(path.name)),
    }


def fakes_path(run: Path, name: str) -> Path | None:
    """Return the path of a grid; None for other names and missing files."""
    path = run / "fakes" / name
    return path if FAKES.fullmatch(name) and path.is_file() else None


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file without damaged lines; the run may be writing to it."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and _finite(row.get("kimg")):
            rows.append(row)
    return rows


def _curves(rows: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    """Return each number over kimg, thinned to POINTS."""
    stride = max(1, math.ceil(len(rows) / POINTS))
    kept = rows[::-1][::stride][::-1]
    names = dict.fromkeys(name for row in kept for name in row if name not in NOT_CURVES)
    curves = {name: [[row["kimg"], row[name]] for row in kept if _finite(row.get(name))] for name in names}
    return {name: points for name, points in curves.items() if points}


def _advice(row: dict[str, Any]) -> list[str]:
    """Return the lines of advice that a tick gave."""
    found = row.get("advice")
    return [line for line in found.values() if isinstance(line, str)] if isinstance(found, dict) else []


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plan(run: Path) -> float | None:
    """Return the planned length of the run in kimg; None if unknown."""
    try:
        goal = json.loads((run / "config.json").read_text())["schedule"]["kimg"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(goal) if _finite(goal) else None
