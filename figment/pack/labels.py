"""Find the label of each image: the sub-folder it is in, or a row of a table.

figment pack art/ -o art.zip --labels folders
figment pack heads/ -o heads.zip --labels labels.csv      # file,label or file,l0,l1,...
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from figment.base.errors import FigmentError
from figment.base.files import need_file

Label = int | list[float]
"""Label of an image: a class number, or a list of numbers."""
MOST_CLASSES = 10000
"""Upper limit of class numbers; a table with larger ones does not list classes."""
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
"""What may stand between the columns of a table."""
LABEL_HEADERS = ("label", "class", "labels", "classes", "category")
"""Headers of the column of classes, in lower case, if there are other columns."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
"""A number with a decimal comma, as spreadsheets write it in many languages."""
NOT_GIVEN = frozenset({"nan", "na", "n/a", "#n/a", "null", "none"})
"""What stands for a missing number, in lower case."""


@dataclass(frozen=True)
class Item:
    """An image to pack into a data set."""

    path: Path
    """Path of its file."""
    name: str
    """Path relative to the folder that is packed, with forward slashes."""
    source: str = ""
    """Image that a head was cropped from, relative to the pictures folder; empty for images that are not crops."""


@dataclass(frozen=True)
class Labels:
    """The labels of a list of items."""

    items: list[Item]
    """The items with a label, in the given order."""
    missing: list[str]
    """One line for each item without a label."""
    values: list[Label]
    """The label of each of `items`."""
    classes: list[str] | None
    """Names of the classes 0, 1, ...; None if the labels were given as numbers."""
    notes: tuple[str, ...] = ()
    """Lines on what was understood from the table or the folders."""

    def one_hot(self, chosen: list[int]) -> np.ndarray:
        """Return the labels of the items at the indices `chosen`, float32 [n, K]: one-hot classes, or the numbers."""
        if isinstance(self.values[0], list):
            return np.asarray([self.values[index] for index in chosen], np.float32)
        numbers = np.asarray(self.values)
        rows = np.zeros((len(chosen), int(numbers.max()) + 1), np.float32)  # [n, K]
        rows[np.arange(len(chosen)), numbers[chosen]] = 1
        return rows


def find_labels(
    option: str,  # value of --labels: `folders`, or the path of a table
    items: list[Item],  # the images to pack
) -> Labels:
    """Return the labels of `items`; `missing` lists those without one.

    Raises FigmentError if no item has a label, or the table cannot be read or is inconsistent.
    """
    cells: list[list[str] | None]
    notes: list[str] = []
    beginning = ""
    if option == "folders":
        parts = [Path(item.source or item.name).parts for item in items]
        cells = [[unicodedata.normalize("NFC", names[0])] if len(names) > 1 else None for names in parts]
        what = "not in a sub-folder"
    else:
        cells, notes, first = _from_table(need_file(Path(option), "--labels"), items)
        beginning = f"; it begins with {first[:60]!r}"
        what = f"has no line in {option}, or no label there"
    missing = [f"{item.name}: {what}" for item, row in zip(items, cells, strict=True) if row is None]
    if len(missing) == len(items):
        raise FigmentError(f"--labels {option}: no picture has a label; {missing[0]}{beginning}")
    values, classes = _as_labels(option, [row for row in cells if row is not None])
    if classes:
        notes.append("classes: " + ", ".join(f"{number} {name}" for number, name in enumerate(classes)))
    kept = [item for item, row in zip(items, cells, strict=True) if row is not None]
    return Labels(kept, missing, values, classes, tuple(notes))


def plain_name(text: str) -> str:
    """Return the name of a file as names are compared: forward slashes, no leading ./, Unicode form NFC."""
    return unicodedata.normalize("NFC", PurePosixPath(text.strip().replace("\\", "/")).as_posix())


# Tables ----------------------------------------------------------------------------------------------------------


def _from_table(path: Path, items: list[Item]) -> tuple[list[list[str] | None], list[str], str]:
    """Return the label cells of each item from a table, found by its name, else its source, notes, and its first file.

    The cells are None for an item without a line, or without a label in it. A header in the first line is skipped; if
    it names a column of labels, the other columns don't count.
    """
    text = _decoded(path)
    known = {plain_name(name) for item in items for name in (item.name, item.source) if name}
    rows, separator = _split(path, text, known)
    if not rows:
        raise FigmentError(f"--labels {path}: the table is empty")
    notes = []
    header = [cell.lower() for cell in rows[0][1]]
    if plain_name(rows[0][1][0]) not in known:
        rows = rows[1:]
        chosen = [place for place, cell in enumerate(header) if cell in LABEL_HEADERS]
        if len(header) > 2 and chosen[:1] != [0] and len(chosen) == 1 and all(len(row) > chosen[0] for _, row in rows):
            notes.append(f"--labels {path}: only its column {header[chosen[0]]!r} is used")
            rows = [(line, [row[0], row[chosen[0]]]) for line, row in rows]
        elif len(header) > 2:
            notes.append(f"--labels {path}: its columns {', '.join(map(repr, header[1:]))} are the labels")

    # Every line has a file and equally many labels; empty columns at the end don't count.
    width = max((len(row) for _, row in rows if any(row[1:])), default=0)
    while width > 2 and not any(row[width - 1] for _, row in rows if len(row) >= width):
        width -= 1
    table: dict[str, list[str]] = {}
    for line, row in rows:
        if len(row) < min(width, 2) or (any(row[1:]) and len(row) < width) or any(row[width:]):
            raise FigmentError(
                f"--labels {path}: line {line} has {len(row)} columns, others {width}; each needs a file and equally "
                "many labels"
            )
        name, labels = plain_name(row[0]), row[1:width]
        if table.setdefault(name, labels) != labels:
            raise FigmentError(
                f"--labels {path}: line {line} gives {row[0]} the label {' '.join(labels)!r}, an earlier line "
                f"{' '.join(table[name])!r}"
            )
    _make_numbers(table, commas=separator != ",")
    rows_of = [table.get(plain_name(item.name)) or table.get(plain_name(item.source)) for item in items]
    return [row if row and any(row) else None for row in rows_of], notes, next(iter(table), header[0])


def _make_numbers(
    table: dict[str, list[str]],  # labels by the name of the file; changed in place
    commas: bool,  # whether numbers may have a decimal comma
) -> None:
    """If all labels are numbers, turn decimal commas into points, and empty a single label that says it is missing."""
    cells = {cell for row in table.values() for cell in row}
    single = all(len(row) == 1 for row in table.values())
    missing = {cell for cell in cells if single and cell.lower() in NOT_GIVEN}
    given = cells - missing - {""}
    if given and all(NUMBER.fullmatch(cell) or (commas and COMMA.fullmatch(cell)) for cell in given):
        for row in table.values():
            row[:] = ["" if cell in missing else cell.replace(",", ".") for cell in row]


def _decoded(path: Path) -> str:
    """Return the text of a table: UTF-8, or UTF-16 with a byte order mark."""
    try:
        data = path.read_bytes()
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise FigmentError(f"--labels {path}: not a readable table; save it as CSV in UTF-8 ({error})") from None
    if "\0" in text:
        raise FigmentError(f"--labels {path}: not a readable table; save it as CSV in UTF-8 (it has zero bytes)")
    return text


def _split(
    path: Path,
    text: str,
    known: set[str],  # names of images; they tell the separator
) -> tuple[list[tuple[int, list[str]]], str]:
    """Return the lines of a table that aren't empty, each with its number and cells without spaces, and the separator.

    The separator is the one with which most lines begin with the name of an image. Raises FigmentError if none of them
    gives two columns.
    """
    best: list[tuple[int, list[str]]] = []
    best_rank, broken, used = (-1, -1), "", ""
    for separator in SEPARATORS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
        rows = []
        try:
            for row in reader:
                if any(cell.strip() for cell in row) and not (reader.line_num == 1 and re.fullmatch("sep=.?", row[0])):
                    rows.append((reader.line_num, [cell.strip() for cell in row]))
        except csv.Error as error:
            broken = broken or f"line {reader.line_num}: not a readable table ({error})"
            continue
        wide = [row for _, row in rows if len(row) > 1]
        rank = (sum(plain_name(row[0]) in known for row in wide), len(wide))
        if rank > best_rank:
            best, best_rank, used = rows, rank, separator
    if broken and best_rank[1] <= 0:
        raise FigmentError(f"--labels {path}: {broken}")
    if best and not best_rank[1]:
        raise FigmentError(
            f"--labels {path}: line {best[0][0]} has 1 columns; between a file and its label must be a "
            f"{', '.join(list(SEPARATORS.values())[:-1])} or {list(SEPARATORS.values())[-1]}"
        )
    return best, used


# Labels ----------------------------------------------------------------------------------------------------------


def number_classes(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return a class number for each name, and the names of the classes.

    Classes are in sorted order; if all names are whole numbers, in the order of these.
    """
    whole = all(name.isascii() and name.isdigit() for name in names)
    classes = sorted(set(names), key=(lambda name: (int(name), name)) if whole else None)
    places = {name: number for number, name in enumerate(classes)}
    return [places[name] for name in names], classes


def one_hot_classes(rows: Sequence[Label]) -> list[Label] | None:
    """Return the class of each row if all rows are one-hot and longer than 1, else None."""
    if not all(isinstance(row, list) and len(row) > 1 and sorted(row)[-2:] == [0, 1] and min(row) == 0 for row in rows):
        return None
    return [row.index(1) for row in rows if isinstance(row, list)]


def _as_labels(option: str, cells: list[list[str]]) -> tuple[list[Label], list[str] | None]:
    """Return labels and class names for rows of label cells.

    A single column holds class numbers if all cells are whole numbers, numbers if all cells are numbers, else class
    names, which are numbered in sorted order. Several columns hold numbers, without class names.
    """
    if len(cells[0]) == 1:
        names = [row[0] for row in cells]
        if option == "folders" or not all(NUMBER.fullmatch(name) for name in names):
            values, classes = number_classes(names)
            return [*values], classes
        numbers = [float(name) for name in names]
        if all(number.is_integer() for number in numbers):
            wrong = [number for number in numbers if not 0 <= number < MOST_CLASSES]
            if wrong:
                raise FigmentError(f"--labels {option}: class {wrong[0]:.0f}; must be from 0 to {MOST_CLASSES - 1}")
            return [int(number) for number in numbers], None
    for cell in (cell for row in cells for cell in row):
        if not NUMBER.fullmatch(cell) or not math.isfinite(float(cell)):
            raise FigmentError(f"--labels {option}: several labels per file must be numbers, not {cell!r}")
    return [[float(cell) for cell in row] for row in cells], None
