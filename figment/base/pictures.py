"""The pictures of a folder: which files are meant, what they are called, and what lies beside them."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from figment.base.errors import FigmentError, printable
from figment.base.files import need_folder, walk
from figment.base.formats import is_picture
from figment.base.progress import say

NAMED = 5
"""Endings that the line about other files names."""
LONGEST_STEM = 200
"""Bytes of an output's name before its ending; there must be room for `-pair.png` and the like."""


def list_pictures(
    folder: Path,
    flag: str = "PICTURES",  # option or argument that messages name
    *,
    leave_out: Path | None = None,  # folder to ignore: the output
    tell: Callable[[str], None] = say,  # called with a line about files that are no pictures, and one for each fault
) -> list[Path]:
    """Return every file below `folder` that is to be read as a picture, sorted by relative path.

    Links to folders are followed once. Captions, caches and the like are summed up in one line. Whether a picture can
    be used shows when it is opened. Raises FigmentError without any picture.
    """
    found = walk(need_folder(folder, flag), leave_out)
    pictures, others = list[Path](), Counter[str]()
    for path in found.files:
        if is_picture(path):
            pictures.append(path)
        else:
            others[path.suffix.lower() or path.name] += 1
    if found.hidden:
        others["hidden"] = found.hidden
    beside = _sum_up(others)
    if not pictures:
        raise FigmentError(f"{flag} {folder}: holds no files that are pictures{f' ({beside})' if beside else ''}")
    if beside:
        tell(f"left alone: {beside}")
    if found.repeated:
        first = printable(found.repeated[0].relative_to(folder).as_posix())
        links = (
            "1 link to a folder that is"
            if len(found.repeated) == 1
            else f"{len(found.repeated)} links to folders that are"
        )
        tell(f"left out: {links} listed already, such as {first}")
    if found.unread:
        more = f", and {len(found.unread) - 1} folders more" if len(found.unread) > 1 else ""
        tell(f"left out: {found.unread[0]}{more}")
    return pictures


def _sum_up(others: Counter[str]) -> str:
    """Return "9 files that are not pictures (5 .txt, 4 .npz)"; empty without any."""
    if not others:
        return ""
    ranked = sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))
    parts = [f"{count} {printable(ending)}" for ending, count in ranked[:NAMED]]
    if rest := sum(count for _, count in ranked[NAMED:]):
        parts.append(f"{rest} others")
    total = others.total()
    return (
        f"{total} {'file that is not a picture' if total == 1 else 'files that are not pictures'} ({', '.join(parts)})"
    )


def relative_name(
    path: Path,
    folder: Path,
) -> str:
    """Return `path` relative to `folder` with forward slashes; bytes that aren't UTF-8 are escaped, as \\\\udcff."""
    return path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode()


def named(
    folder: Path,
    name: str,  # as `relative_name` gives it
) -> Path:
    """Return the path of the file that is called `name` relative to `folder`, which may not exist."""
    path = folder / name
    if "\\udc" in name and not path.exists():
        return folder / re.sub(r"\\u(dc[0-9a-f]{2})", lambda found: chr(int(found[1], 16)), name)
    return path


def output_stems(
    pictures: Sequence[Path],
    folder: Path,  # that they are in
    endings: Sequence[str] = ("",),  # what is added to a stem for the files written
) -> list[str]:
    """Return a stem for the outputs of each picture: its own if that is free, else with a hash of its relative name.

    No two outputs get the same name, even where upper and lower case or the forms of an umlaut are one. The stems
    depend on the names only.
    """
    plain = [path.stem for path in pictures]
    uses = Counter(_same_file(stem + ending) for stem in plain for ending in endings)
    stems = []
    for path, stem in zip(pictures, plain, strict=True):
        long = len(os.fsencode(stem)) > LONGEST_STEM
        if long or printable(stem) != stem or any(uses[_same_file(stem + ending)] > 1 for ending in endings):
            name = relative_name(path, folder)
            short = re.sub(r"[^\w.() -]+", "_", relative_name(Path(stem), Path()))[: LONGEST_STEM // 4]
            stem = f"{short}-{hashlib.sha1(name.encode()).hexdigest()[:8]}"
        stems.append(stem)
    return stems


def _same_file(name: str) -> str:
    """Return the form of a name in which file systems compare it that ignore case and forms of letters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
