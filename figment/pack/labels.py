"""Find the label of each image: the sub-folder it is in, or a row of a CSV file.

figment pack art/ -o art.zip --labels folders
figment pack heads/ -o heads.zip --labels labels.csv      # file,label or file,l0,l1,...
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError
from figment.base.files import need_file

Label = int | list[float]
"""Label of an image: a class number, or a list of numbers."""
MOST_CLASSES = 10000
"""Upper limit of class numbers; a table with larger ones does not list classes."""


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

    def one_hot(self, chosen: list[int]) -> np.ndarray:
        """Return the labels of the items at the indices `chosen`, float32 [n, K]: one-hot classes, or the numbers."""
        if isinstance(self.values[0], list):
            return np.asarray([self.values[index] for index in chosen], np.float32)
        numbers = np.asarray(self.values)
        rows = np.zeros((len(chosen), int(numbers.max()) + 1), np.float32)  # [n, K]
        rows[np.arange(len(chosen)), numbers[chosen]] = 1
        return rows


def find_labels(
    option: str,  # value of --labels: `folders`, or the path of a CSV file
    items: list[Item],  # the images to pack
) -> Labels:
    """Return the labels of `items`; `missing` lists those without one.

    Raises FigmentError if no item has a label, or the CSV file cannot be read or is inconsistent.
    """
    cells: list[list[str] | None]
    if option == "folders":
        parts = [Path(item.source or item.name).parts for item in items]
        cells, what = [[names[0]] if len(names) > 1 else None for names in parts], "not in a sub-folder"
    else:
        cells, what = _from_table(need_file(Path(option), "--labels"), items), f"has no line in {option}"
    missing = [f"{item.name}: {what}" for item, row in zip(items, cells, strict=True) if row is None]
    if len(missing) == len(items):
        raise FigmentError(f"--labels {option}: no picture has a label; {missing[0]}")
    values, classes = _as_labels(option, [row for row in cells if row is not None])
    return Labels([item for item, row in zip(items, cells, strict=True) if row is not None], missing, values, classes)


def _from_table(path: Path, items: list[Item]) -> list[list[str] | None]:
    """Return the label cells of each item from a CSV file, found by its name, else its source; None without a line.

    A header in the first line is skipped.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise FigmentError(f"--labels {path}: not a readable CSV file ({error})") from None
    known = {item.name for item in items} | {item.source for item in items}
    table: dict[str, list[str]] = {}
    for number, row in enumerate(rows, 1):
        name = row[0].strip().replace("\\", "/").removeprefix("./")
        if number == 1 and name not in known:
            continue
        if len(row) != len(rows[-1]) or len(row) < 2:
            raise FigmentError(
                f"--labels {path}: line {number} has {len(row)} columns; each needs a file and equally many labels"
            )
        table[name] = [cell.strip() for cell in row[1:]]

    return [table.get(item.name) or table.get(item.source) for item in items]


def _as_labels(option: str, cells: list[list[str]]) -> tuple[list[Label], list[str] | None]:
    """Return labels and class names for rows of label cells.

    A single column holds class numbers if all cells are whole numbers, else class names, which are numbered in sorted
    order. Several columns hold numbers, without class names.
    """
    if len(cells[0]) == 1:
        names = [row[0] for row in cells]
        if option != "folders" and all(name.isdecimal() for name in names):
            numbers = [int(name) for name in names]
            if max(numbers) >= MOST_CLASSES:
                raise FigmentError(f"--labels {option}: class {max(numbers)}; must be below {MOST_CLASSES}")
            return [*numbers], None
        classes = sorted(set(names))
        places = {name: number for number, name in enumerate(classes)}
        return [places[name] for name in names], classes
    try:
        return [[float(cell) for cell in row] for row in cells], None
    except ValueError as error:
        raise FigmentError(f"--labels {option}: several labels per file must be numbers ({error})") from None
