"""A label for every picture: the sub-folder that it lies in, or a table.

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
"""A class, or numbers."""


MOST_CLASSES = 10000
"""A table of larger numbers lists something else than classes."""


@dataclass(frozen=True)
class Item:
    """A picture that goes into a data set."""

    path: Path
    """Where it lies."""
    name: str
    """Its path in its folder."""
    source: str = ""
    """The picture that it was cut from, relative to the pictures folder; empty where it was not."""


@dataclass(frozen=True)
class Labels:
    """The labels of some items, in their order."""

    items: list[Item]
    """Those that have a label."""
    missing: list[str]
    """A line for each that has none."""
    values: list[Label]
    classes: list[str] | None
    """What class 0, 1, ... are called; None where labels are numbers."""

    def one_hot(self, chosen: list[int]) -> np.ndarray:
        """Of the chosen items float32 [n, K]: a 1 at the class, or the numbers as they are."""
        if isinstance(self.values[0], list):
            return np.asarray([self.values[index] for index in chosen], np.float32)
        numbers = np.asarray(self.values)
        rows = np.zeros((len(chosen), int(numbers.max()) + 1), np.float32)  # [n, K]
        rows[np.arange(len(chosen)), numbers[chosen]] = 1
        return rows


def find_labels(
    option: str,  # `folders`, or the path of a CSV file
    items: list[Item],
) -> Labels:
    """A label for each item; those without one are named in `missing`. Raises FigmentError where none has one."""
    cells: list[list[str] | None]
    if option == "folders":
        parts = [Path(item.source or item.name).parts for item in items]
        cells, what = [[names[0]] if len(names) > 1 else None for names in parts], "lies in no sub-folder"
    else:
        cells, what = _from_table(need_file(Path(option), "--labels"), items), f"has no line in {option}"
    missing = [f"{item.name}: {what}" for item, row in zip(items, cells, strict=True) if row is None]
    if len(missing) == len(items):
        raise FigmentError(f"--labels {option}: no picture has a label; {missing[0]}")
    values, classes = _as_labels(option, [row for row in cells if row is not None])
    return Labels([item for item, row in zip(items, cells, strict=True) if row is not None], missing, values, classes)


def _from_table(path: Path, items: list[Item]) -> list[list[str] | None]:
    """The cells of a CSV file, looked up by an item's name, then by its source. A first line of titles is skipped."""
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
                f"--labels {path}: line {number} has {len(row)} columns; all must have a file and equally many labels"
            )
        table[name] = [cell.strip() for cell in row[1:]]

    return [table.get(item.name) or table.get(item.source) for item in items]


def _as_labels(option: str, cells: list[list[str]]) -> tuple[list[Label], list[str] | None]:
    """One column: class numbers if all are whole, else names, numbered by their order. More columns: numbers."""
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
        raise FigmentError(f"--labels {option}: several labels a file must be numbers ({error})") from None
