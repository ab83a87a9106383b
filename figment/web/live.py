"""What a run has to show while it trains: its curves, its scores and its grids of fakes."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

POINTS = 400
"""Most points of a curve; longer ones are thinned, the last point stays."""
FAKES = re.compile(r"img[0-9]{9}\.png")
NOT_CURVES = ("tick", "kimg")


def read_live(run: Path) -> dict[str, Any]:
    """Curves by name (lists of [kimg, value]), the grids' names in order, and how far the run is."""
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
        "scores": _curves(scores),
        "fakes": sorted(path.name for path in (run / "fakes").glob("img*.png") if FAKES.fullmatch(path.name)),
    }


def fakes_path(run: Path, name: str) -> Path | None:
    """The grid called `name`; None where the name is no grid's or there is no such file."""
    path = run / "fakes" / name
    return path if FAKES.fullmatch(name) and path.is_file() else None


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that may be written to right now: a damaged line is left out."""
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
    """Each number's way over kimg, thinned to POINTS."""
    stride = max(1, math.ceil(len(rows) / POINTS))
    kept = rows[::-1][::stride][::-1]
    names = dict.fromkeys(name for row in kept for name in row if name not in NOT_CURVES)
    curves = {name: [[row["kimg"], row[name]] for row in kept if _finite(row.get(name))] for name in names}
    return {name: points for name, points in curves.items() if points}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plan(run: Path) -> float | None:
    """How many kimg the run is to last."""
    try:
        goal = json.loads((run / "config.json").read_text())["schedule"]["kimg"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(goal) if _finite(goal) else None
