"""What all formats of labels share: which classes are heads, checks of boxes, and the report of what is left out."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from figment.base.errors import FigmentError
from figment.base.progress import say

Boxes = Mapping[str, Sequence[Sequence[float]]]
"""Boxes [x0, y0, x1, y1] or [x0, y0, x1, y1, score] in pixels of the upright image, by its relative path."""
Sizes = Mapping[str, tuple[int, int]]
"""Width and height of the upright image by its relative path."""

HEAD = re.compile(r"(anime|manga|cartoon|character|human|person)?(heads?|faces?)")
"""Words in the name of a class of heads."""
NOT = frozenset({"no", "non", "not", "without"})
"""Words that turn the meaning of the name around."""
SLACK = 1.0
"""Pixels by which a box may reach out of its image without a word: tools round differently."""
NAMED = 10
"""Items that a report names; it counts the others."""


def head_classes(names: Mapping[int, str]) -> set[int]:
    """Return the classes called head, else those called face; empty if there are none.

    A name's last word counts first ("face mask" is a mask), then any of its words. Where heads and faces are labeled,
    only heads count, as both would give two boxes for one head.
    """
    words = {
        kind: re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()) for kind, name in names.items()
    }
    for last in (True, False):
        for ending in ("head", "face"):
            found = {
                kind
                for kind, parts in words.items()
                if not NOT & set(parts)
                and any(HEAD.fullmatch(word) and ending in word for word in (parts[-1:] if last else parts))
            }
            if found:
                return found
    return set()


def choose_classes(
    file: Path,  # for messages
    names: Mapping[int, str],  # empty if the file doesn't name its classes
    counts: Mapping[int, int],  # number of boxes by class
) -> Collection[int]:
    """Return the classes whose boxes are heads, and report the boxes of others.

    A single class counts whatever its name. Raises FigmentError if none of several named classes is a head.
    """
    used = {kind: names[kind] for kind in counts if kind in names}
    heads, shown = head_classes(used), list_names(names, used)
    if heads:
        others = {kind: count for kind, count in counts.items() if kind not in heads}
        if others:
            say(f"{file}: boxes of other classes left out ({sum(others.values())}): {list_names(names, others)}")
        return heads
    if used and head_classes(names):
        raise FigmentError(f"{file}: no box is of {list_names(names, head_classes(names))}, all are of {shown}")
    if len(used) > 1:
        every = list_names(names, names)
        raise FigmentError(f"{file}: its classes are {every}; the one to use must be called head or face")
    if used:
        say(f"{file}: all boxes are of {shown}, which count as heads")
    elif len(counts) > 1:
        say(f"{file}: nothing names the classes {list_names({}, counts)}, so all count as heads")
    return counts


def list_names(names: Mapping[int, str], kinds: Collection[int]) -> str:
    """Return the names of classes, quoted, as a text; a class without a name gives its number."""
    shown = [repr(names[kind])[:40] if kind in names else str(kind) for kind in sorted(kinds)]
    return ", ".join(shown[:NAMED]) + (f" and {len(shown) - NAMED} more" if len(shown) > NAMED else "")


def check_name(name: object) -> str:
    """Return the name of an image; raises ValueError if no file can have it."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"{str(name)[:60]!r} is not the name of a picture")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ValueError(f"{name[:60]!r} is not the name of a picture") from None
    return name


def check_numbers(values: object, counts: Collection[int]) -> list[float]:
    """Return a list of numbers as floats; raises ValueError for anything else, other counts, NaN and infinity."""
    if not isinstance(values, (list, tuple)) or len(values) not in counts:
        raise ValueError(f"must be {' or '.join(map(str, counts))} numbers")
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        raise ValueError("must be numbers")
    try:
        numbers = [float(value) for value in values]
    except OverflowError:
        raise ValueError("must be finite") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError("must be finite")
    return numbers


def check_score(score: float) -> float:
    """Return a score; raises ValueError outside of 0 to 1."""
    if not 0 <= score <= 1:
        raise ValueError(f"has a score of {score:g}, which must be from 0 to 1")
    return score


def clip(
    box: Sequence[float],  # x0, y0, x1, y1, and perhaps a score
    size: tuple[int, int] | None,  # of the image; None if unknown
) -> tuple[list[float], float]:
    """Return the part of a box in its image, and by how many pixels the box reaches out of it.

    Raises ValueError for an empty box, and for one outside of the image.
    """
    x0, y0, x1, y1, *score = box
    if not (x0 < x1 < math.inf and y0 < y1 < math.inf):
        raise ValueError("must have x0 < x1 and y0 < y1")
    width, height = size or (math.inf, math.inf)
    inside = [max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))]
    if not (inside[0] < inside[2] and inside[1] < inside[3]):
        raise ValueError("lies outside of the picture" + (f" of {width}x{height}" if size else ""))
    return [*inside, *score], max(-x0, -y0, x1 - width, y1 - height, 0.0)


def need_pixels(
    file: Path,  # for messages
    boxes: Iterable[Sequence[float]],  # [x0, y0, x1, y1], or with a score
) -> None:
    """Raise FigmentError if all boxes lie within the first pixel: they are shares of the picture's size."""
    corners = [max(box[:4]) for box in boxes]
    if corners and max(corners) <= 1:
        raise FigmentError(f"{file}: no box reaches beyond 1; must be pixels, not shares of the picture's size")


class Report:
    """Notes of a reader on single items of a file, printed as one line for each kind."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.notes: dict[str, list[str]] = {}

    def add(
        self,
        note: str,  # such as "annotations left out, no bbox"
        item: object,  # name of the item
    ) -> None:
        """Note something about an item."""
        self.notes.setdefault(note, []).append(str(item))

    def worst(self) -> str:
        """Return the most frequent note as a text."""
        note, items = max(self.notes.items(), key=lambda entry: len(entry[1]))
        return f"{note} ({len(items)})"

    def tell(self) -> None:
        """Print the notes."""
        for note, items in self.notes.items():
            more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
            say(f"{self.file}: {note} ({len(items)}): {', '.join(items[:NAMED])}{more}")
