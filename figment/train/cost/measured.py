"""What training gave in measured runs: what `figment plan` says can be expected.

for run in nearest(read_measured(), resolution=64, pictures=600, kimg=50):
    print(run.line())

The runs are rows of measured.json beside this file, one line each. Only what was measured belongs there, with what a
person saw on the grid of fakes and where the figures are from.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from figment.base.errors import FigmentError
from figment.base.files import read_json

TABLE = Path(__file__).with_name("measured.json")
"""The table that ships with figment."""


class Measured(NamedTuple):
    """A measured run."""

    data: str
    """Kind of pictures, in the plural."""
    pictures: int
    """Number of pictures."""
    resolution: int
    """Side of the images in pixels."""
    recipe: str
    """Options that differ from the defaults."""
    start: str
    """What the networks started from: random weights, or a network."""
    kimg: float
    """Length of the run."""
    minutes: float
    """Time that training took."""
    machine: str
    """What it ran on."""
    score: str
    """Distance with its label, empty if there is none. FD-ResNet is docs/speedrun.md's, FD-heads `figment score`'s."""
    by_eye: str
    """What a person saw on the grid of fakes, in one plain phrase."""
    source: str
    """Where the figures are from."""

    def line(self) -> str:
        """Return the row as one line for people."""
        score = f", {self.score}" if self.score else ""
        return (
            f"Measured: {self.pictures:,} {self.data} at {self.resolution} px, {self.kimg:g} kimg from {self.start} "
            f"with {self.recipe}: {self.by_eye} ({self.minutes:g} minutes on {self.machine}{score}; {self.source})"
        )


def read_measured(path: Path = TABLE) -> list[Measured]:
    """Return the rows of a table; raises FigmentError if its columns are not those of `Measured`."""
    found = read_json(path)
    if found["columns"] != list(Measured._fields) or any(len(row) != len(Measured._fields) for row in found["rows"]):
        raise FigmentError(f"{path}: every row needs the columns {', '.join(Measured._fields)}")
    return [Measured(*row) for row in found["rows"]]


def nearest(
    runs: list[Measured],
    resolution: int,  # side of the images in pixels
    pictures: int,
    kimg: float,
    count: int = 3,  # rows to return
) -> list[Measured]:
    """Return the measured runs that are most like a planned one, the nearest first.

    Runs at the nearest resolution come first; among them, factors between the pictures and between the kimg count.
    """

    def far(run: Measured) -> tuple[float, float]:
        factors = (math.log(run.pictures / pictures), math.log(run.kimg / kimg))
        return abs(math.log(run.resolution / resolution)), math.hypot(*factors)

    return sorted(runs, key=far)[:count]
