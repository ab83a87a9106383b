"""Read dataset.json, which holds the labels in a zip file, in the forms that public tools write.

    {"labels": [["00000/img00000000.png", 3], ...]}          StyleGAN2 and StyleGAN3
    {"labels": {"00000/img00000000.png": 3, ...}}            an object instead of pairs

A label is a class number, the name of a class, or a list of numbers, one-hot or not. Names may be relative to the zip
or to the folder of dataset.json, and may have backslashes, a leading ./, or another Unicode form. Zip files of older
programs don't say how their names are encoded; they are understood if dataset.json has the same names.
"""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

from figment.base.errors import FigmentError
from figment.base.formats import has_picture_name, is_hidden
from figment.pack.labels import MOST_CLASSES, NUMBER, Label, number_classes, one_hot_classes, plain_name

ABOUT = "dataset.json"
ENCODINGS = ("utf-8", "cp932", "gb18030", "big5", "cp949", "cp1252", "cp1251")
"""How names in a zip that does not say it may be encoded, by system and language. Python reads them as cp437."""


def about_name(path: Path, entries: list[str]) -> str | None:
    """Return the zip entry that is dataset.json, None without one. Raises FigmentError if there are several."""
    found = sorted({name for name in entries if _is_about(name)})
    if len(found) > 1:
        raise FigmentError(f"DATA {path}: holds several {ABOUT} ({', '.join(found)}); keep one")
    return found[0] if found else None


def _is_about(name: str) -> bool:
    parts = plain_name(name).split("/")
    return parts[-1].lower() == ABOUT and not any(map(is_hidden, parts))


def read_labels(
    path: Path,  # the zip file, for messages
    about: str,  # name of the entry dataset.json
    data: bytes,  # its content
    names: list[str],  # the images
) -> dict[str, Label] | None:
    """Return the label of every image, or None without labels.

    Labels of images that don't exist are ignored. Raises FigmentError for damaged JSON, an image without a label or
    with two, and labels of mixed kinds.
    """
    what = f"DATA {path}: its {about}"
    given = _pairs(what, data)
    if not given:
        return None
    folder = PurePosixPath(plain_name(about)).parent
    table: dict[str, Any] = {}
    for name, label in given:
        if name in table and table[name] != label:
            raise FigmentError(f"{what} has two labels for {name}: {table[name]!r} and {label!r}")
        table[name] = label

    # Names are relative to the zip, else to the folder of dataset.json.
    found: dict[str, Any] = {}
    for name in names:
        near = [
            PurePosixPath(plain).relative_to(folder).as_posix()
            for plain in spellings(name)
            if PurePosixPath(plain).is_relative_to(folder)
        ]
        known = dict.fromkeys((*spellings(name), *near))
        labels = [table[each] for each in known if table.get(each) is not None]
        for other in labels[1:]:
            if other != labels[0]:
                raise FigmentError(f"{what} has two labels for {name}: {labels[0]!r} and {other!r}")
        if labels:
            found[name] = labels[0]
    missing = [name for name in names if name not in found]
    if missing:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise FigmentError(f"{what} has no label for {missing[0]}{others}")
    return dict(zip(names, _as_labels(what, data, [found[name] for name in names]), strict=True))


def spellings(name: str) -> list[str]:
    """Return the plain forms that the name of a zip entry may have, the most likely first."""
    found = [name]
    if not name.isascii():
        for encoding in ENCODINGS:
            try:
                found.append(name.encode("cp437").decode(encoding))
            except UnicodeError:
                continue
    return list(dict.fromkeys(map(plain_name, found)))


def _pairs(what: str, data: bytes) -> list[tuple[str, Any]]:
    """Return names in their plain form and labels; empty without labels."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        held: dict[str, Any] = {}
        for key, value in pairs:
            if key in held and held[key] != value:
                raise FigmentError(f"{what} has two values for {key}: {str(held[key])[:40]} and {str(value)[:40]}")
            held[key] = value
        return held

    try:
        about = json.loads(data, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise FigmentError(f"{what} is damaged ({error})") from None
    if not isinstance(about, dict):
        raise FigmentError(f"{what} must hold an object with `labels`")
    if "labels" not in about:
        for key in about:
            if key.lower().startswith("label") or has_picture_name(key):
                raise FigmentError(f"{what} has {key[:60]!r}, but no `labels`, which must hold pairs of name and label")
    labels = about.get("labels")
    if labels is None:
        return []
    rows = list(labels.items()) if isinstance(labels, dict) else labels
    if not isinstance(rows, list) or not all(
        isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[0], str) for row in rows
    ):
        raise FigmentError(f"{what}: labels must be pairs of name and label")
    return [(plain_name(name), label) for name, label in rows]


def _as_labels(what: str, data: bytes, values: list[Any]) -> list[Label]:
    """Return the labels in one form: classes if they are whole numbers, names or one-hot rows, else rows of numbers."""
    if all(isinstance(value, str) for value in values):
        classes = json.loads(data).get("classes")
        numbers = all(NUMBER.fullmatch(value) for value in values)
        if isinstance(classes, list) and classes and not (numbers and not set(values) & set(map(str, classes))):
            places = {str(name): number for number, name in enumerate(classes)}
            if len(places) < len(classes):
                raise FigmentError(f"{what}: its `classes` name a class twice")
            if unknown := sorted(set(values) - set(places)):
                raise FigmentError(f"{what}: the label {unknown[0][:60]!r} is not among its `classes`")
            return [places[value] for value in values]
        if not numbers:
            return [*number_classes(values)[0]]
        values = [float(value) for value in values]
    if all(_is_number(value) for value in values):
        wrong = [value for value in values if not 0 <= value < MOST_CLASSES]
        if all(value == int(value) for value in values):
            if wrong:
                raise FigmentError(f"{what}: class {str(wrong[0])[:60]}; must be from 0 to {MOST_CLASSES - 1}")
            return [int(value) for value in values]
        return [[float(value)] for value in values]
    widths = {len(value) if isinstance(value, list) else 0 for value in values}
    numbers = all(_is_number(number) for value in values if isinstance(value, list) for number in value)
    if len(widths) == 1 and 0 not in widths and numbers:
        rows = [[float(number) for number in value] for value in values]
        return one_hot_classes(rows) or [*rows]
    raise FigmentError(
        f"{what}: labels must be all names of classes, all whole numbers, or all rows of finite numbers of one length"
    )


def _is_number(value: object) -> bool:
    """Return whether a value is a finite number, which a float can hold."""
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
