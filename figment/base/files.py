"""Atomic writes, path checks with clear messages, and run folders."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figment.base.errors import REFUSALS, FigmentError, printable
from figment.base.formats import is_hidden

PARTIAL = ".partial"
"""Part of the name of a file that is being written."""
LONGEST_NAME = 255
"""Bytes that a file's name may have on common file systems."""
DISK_FULL_BYTES = 64 * 1024
"""With fewer free bytes than this, a failed write counts as a full disk: codecs and torch don't report the cause."""

DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError, RuntimeError)
"""Exceptions that reading a damaged zip file raises."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which is renamed to `path` on success and removed on any error.

    The temporary name depends only on `path` and keeps its suffix, so the next writer of the same file overwrites
    what a killed process left behind. For long names it is a hash.
    Raises OSError (ENOSPC) with the name of the file if the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.stem
    if len(os.fsencode(path.name)) > LONGEST_NAME - len(PARTIAL) - 1:
        stem = hashlib.sha1(os.fsencode(path.name)).hexdigest()
    temporary = path.with_name(f".{stem}{PARTIAL}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if isinstance(error, Exception) and getattr(error, "errno", None) not in REFUSALS:
            full |= shutil.disk_usage(path.parent).free < DISK_FULL_BYTES
        with contextlib.suppress(OSError):
            temporary.unlink()
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)
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
    if path.exists() and not path.is_file():
        raise FigmentError(f"{path}: must be a JSON file, not a folder, a pipe or a device")
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


def need_output(
    path: Path,
    flag: str,
    *,
    folder: bool = False,  # whether it is to be a folder
) -> None:
    """Make the folder that is to hold an output. Raises FigmentError that names `flag` if it can't be written to."""
    try:
        if not folder and path.is_dir():
            raise FigmentError(f"{flag} {path}: must be a file, and this is a folder")
        with contextlib.suppress(_Tried), atomic(path / "figment" if folder else path) as temporary:
            temporary.touch()
            path.exists()  # raises OSError for a name that is too long, once its folder exists
            raise _Tried
    except OSError as error:
        raise FigmentError(f"{flag} {path}: can't be written ({error.strerror})") from None


def check_output(
    path: Path,
    flag: str,
    *,
    folder: bool = False,  # whether it is to be a folder
) -> None:
    """Raise FigmentError that names `flag` if an output can't be written; leave nothing behind."""
    missing = [each for each in ((path, *path.parents) if folder else path.parents) if not os.path.lexists(each)]
    try:
        need_output(path, flag, folder=folder)
    finally:
        for each in missing:
            with contextlib.suppress(OSError):
                each.rmdir()


def need_ending(path: Path, ending: str, flag: str = "--output") -> None:
    """Raise FigmentError that names `flag` if a file to write has another ending: it may be an input."""
    if path.suffix.lower() != ending:
        raise FigmentError(f"{flag} {path}: must end in {ending}")


def keep_input(
    source: object,  # what `flag` names; only the path of an existing file counts
    flag: str,
    *outputs: Path,  # files that are to be written below --output or beside it
) -> None:
    """Raise FigmentError if one of `outputs` is the file `source`, which would be lost."""
    if isinstance(source, str | Path) and is_file(Path(source)):
        for output in outputs:
            if is_file(output) and output.samefile(source):
                raise FigmentError(f"--output {output}: would overwrite {flag} {source}; choose another output")


class _Tried(BaseException):
    """Ends a trial of writing."""


def is_file(path: Path) -> bool:
    """Return whether `path` is a file; unlike the method, also for a path that the system refuses to look up."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Return whether `path` is a folder; unlike `is_dir`, also for a path that the system refuses to look up."""
    try:
        return path.is_dir()
    except OSError:
        return False


def need_folder(path: Path, flag: str) -> Path:
    """Return `path` if it is a readable folder. Raises FigmentError that names `flag` otherwise."""
    try:
        if not path.exists():
            raise FigmentError(f"{flag} {path}: no such folder")
        if not path.is_dir():
            raise FigmentError(f"{flag} {path}: must be a folder, not a file")
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        raise FigmentError(f"{flag} {path}: can't read this folder ({error.strerror})") from None
    return path


def need_file(path: Path, flag: str) -> Path:
    """Return `path` if it is a readable file. Raises FigmentError that names `flag` otherwise."""
    try:
        if not path.exists():
            raise FigmentError(f"{flag} {path}: no such file")
        if path.is_dir():
            raise FigmentError(f"{flag} {path}: must be a file, not a folder")
        if not path.is_file():
            raise FigmentError(f"{flag} {path}: must be a file, not a pipe or a device")
        path.open("rb").close()
    except OSError as error:
        raise FigmentError(f"{flag} {path}: can't read this file ({error.strerror})") from None
    return path


@dataclass(frozen=True)
class Walk:
    """The files below a folder, and what is left out of them."""

    files: list[Path]
    """All files that are not hidden, sorted by their path relative to the folder."""
    hidden: int
    """Files with hidden names, or in hidden folders and folders of the system."""
    repeated: list[Path]
    """Links to folders that are listed already."""
    unread: list[str]
    """One line for each folder that can't be read."""


def walk(
    folder: Path,
    leave_out: Path | None = None,  # folder to ignore, unless it is `folder`: the output
) -> Walk:
    """List the files below `folder`. Links to folders are followed, and each folder is listed once.

    A folder that can be reached in several ways is listed under its own path if that is below `folder`.
    """
    ignored = _identity(leave_out) if leave_out else None
    found, hidden, repeated, unread = list[Path](), 0, list[Path](), list[str]()
    seen = set[tuple[int, int] | None]()
    starts = [folder]  # `folder`, then the links in it

    def fail(error: OSError) -> None:
        unread.append(printable(f"{os.fsdecode(error.filename)}: can't read this folder ({error.strerror})"))

    for start in starts:  # grows
        if start is not folder and ignored and _identity(start) == ignored:
            continue
        if _identity(start) in seen:
            repeated.append(start)
        for root, folders, names in os.walk(start, onerror=fail):
            here = Path(root)
            identity = _identity(here)
            if identity in seen:
                folders.clear()
                continue
            seen.add(identity)
            links = {name for name in folders if (here / name).is_symlink() and not is_hidden(name)}
            starts += [here / name for name in sorted(links)]
            hidden += sum(_count_files(here / name) for name in folders if is_hidden(name))
            folders[:] = sorted(
                name
                for name in folders
                if not is_hidden(name) and name not in links and not (ignored and _identity(here / name) == ignored)
            )
            found += [here / name for name in names if not is_hidden(name)]
            hidden += sum(is_hidden(name) for name in names)
    found.sort(key=lambda path: path.relative_to(folder).as_posix())
    return Walk(found, hidden, repeated, unread)


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return what identifies a folder, whatever its path; None if it is missing."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _count_files(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def list_files(folder: Path) -> list[Path]:
    """Return all files below `folder`, sorted by relative path, without hidden files and folders; see `walk`."""
    return walk(folder).files


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
