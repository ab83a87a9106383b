"""Atomic writes, path checks with clear messages, and run folders."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figment.base.errors import FigmentError

PARTIAL = ".partial"
"""Part of the name of a file that is being written."""
DISK_FULL_BYTES = 64 * 1024
"""With fewer free bytes than this, a failed write counts as a full disk: codecs and torch don't report the cause."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which is renamed to `path` on success and removed on any error.

    The temporary name depends only on `path` and keeps its suffix, so the next writer of the same file overwrites
    what a killed process left behind. Raises OSError (ENOSPC) with the name of the file if the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}{PARTIAL}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        full |= isinstance(error, Exception) and shutil.disk_usage(path.parent).free < DISK_FULL_BYTES
        temporary.unlink(missing_ok=True)
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises FigmentError if the file is missing or damaged, or if an object has a key twice.
    """
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise FigmentError(f"{path}: not a readable JSON file ({error})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dict; raises ValueError if a key occurs twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice!r} twice")
    return value


def need_folder(path: Path, flag: str) -> Path:
    """Return `path` if it is a readable folder. Raises FigmentError that names `flag` otherwise."""
    if not path.exists():
        raise FigmentError(f"{flag} {path}: no such folder")
    if not path.is_dir():
        raise FigmentError(f"{flag} {path}: must be a folder, not a file")
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        raise FigmentError(f"{flag} {path}: can't read this folder ({error.strerror})") from None
    return path


def need_file(path: Path, flag: str) -> Path:
    """Return `path` if it is a readable file. Raises FigmentError that names `flag` otherwise."""
    if not path.exists():
        raise FigmentError(f"{flag} {path}: no such file")
    if path.is_dir():
        raise FigmentError(f"{flag} {path}: must be a file, not a folder")
    try:
        path.open("rb").close()
    except OSError as error:
        raise FigmentError(f"{flag} {path}: can't read this file ({error.strerror})") from None
    return path


def list_files(folder: Path) -> list[Path]:
    """Return all files below `folder`, sorted by relative path, without hidden files and folders."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def new_run(runs: Path, name: str) -> Path:
    """Return the path of the next run below `runs`, such as runs/00003-heads, without creating it."""
    numbers = [int(path.name[:5]) for path in runs.glob("[0-9][0-9][0-9][0-9][0-9]-*")] if runs.is_dir() else []
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "run"
    return runs / f"{max(numbers, default=-1) + 1:05d}-{slug}"


def is_run(path: Path) -> bool:
    """Return whether `path` is the folder of a run."""
    return (path / "config.json").is_file()


def find_run(path: Path, flag: str) -> Path:
    """Return `path` if it is a run, else the newest run below it. Raises FigmentError that names `flag` without one."""
    if is_run(path):
        return path
    runs = sorted(child for child in path.glob("[0-9][0-9][0-9][0-9][0-9]-*") if is_run(child)) if path.is_dir() else []
    if not runs:
        raise FigmentError(f"{flag} {path}: neither a run (a folder with config.json) nor a folder of runs")
    return runs[-1]
