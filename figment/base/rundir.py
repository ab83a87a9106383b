"""Run directories: runs/00003-heads with config.json, stats.jsonl, fakes/, checkpoints/ and model.safetensors."""

from __future__ import annotations

import re
from pathlib import Path

from figment.base.errors import FigmentError


def new_run(runs: Path, name: str) -> Path:
    """The path of the next free run below `runs`, e.g. runs/00003-heads; the folder is not made yet."""
    numbers = [int(path.name[:5]) for path in runs.glob("[0-9][0-9][0-9][0-9][0-9]-*")] if runs.is_dir() else []
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "run"
    return runs / f"{max(numbers, default=-1) + 1:05d}-{slug}"


def is_run(path: Path) -> bool:
    """Whether `path` is a run's folder."""
    return (path / "config.json").is_file()


def find_run(path: Path, flag: str) -> Path:
    """`path` itself if it is a run, or the newest run below it; raises FigmentError that names `flag`."""
    if is_run(path):
        return path
    runs = sorted(child for child in path.glob("[0-9][0-9][0-9][0-9][0-9]-*") if is_run(child)) if path.is_dir() else []
    if not runs:
        raise FigmentError(f"{flag} {path}: neither a run (a folder with config.json) nor a folder of runs")
    return runs[-1]
