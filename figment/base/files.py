"""Files that are written whole or not at all, checks that name a bad path, and run folders."""

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
NO_ROOM = 64 * 1024
"""With fewer free bytes than this, what went wrong while writing was the full disk: codecs and torch don't say so."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the name `path`, on any error it is removed.

    The temporary name depends on `path` alone and keeps its suffix, so a killed writer's leftover is
    overwritten by the next writer of the same file.
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
        full |= isinstance(error, Exception) and shutil.disk_usage(path.parent).free < NO_ROOM
        temporary.unlink(missing_ok=True)
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`; raises FigmentError that names the file where it is damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FigmentError(f"{path}: not a readable JSON file ({error})") from None


def need_folder(path: Path, flag: str) -> Path:
    """`path` if it is a folder that can be listed; raises FigmentError that names `flag` otherwise."""
    if not path.exists():
        raise FigmentError(f"{flag} {path}: no such folder")
    if not path.is_dir():
        raise FigmentError(f"{flag} {path}: must be a folder, but this is a file")
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        raise FigmentError(f"{flag} {path}: can't read this folder ({error.strerror})") from None
    return path


def need_file(path: Path, flag: str) -> Path:
    """`path` if it is a file that can be opened; raises FigmentError that names `flag` otherwise."""
    if not path.exists():
        raise FigmentError(f"{flag} {path}: no such file")
    if path.is_dir():
        raise FigmentError(f"{flag} {path}: must be a file, but this is a folder")
    try:
        path.open("rb").close()
    except OSError as error:
        raise FigmentError(f"{flag} {path}: can't read this file ({error.strerror})") from None
    return path


def list_files(folder: Path) -> list[Path]:
    """Every visible file below `folder`, sorted by relative path; hidden names are skipped."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


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
