"""Frozen records that stages exchange: boxes, pictures, heads and verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in pixels of the upright picture; left and top inclusive, right and bottom exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    def iou(self, other: Box) -> float:
        """Return the intersection over union with `other`, 0 to 1."""
        across = max(0.0, min(self.x1, other.x1) - max(self.x0, other.x0))
        down = max(0.0, min(self.y1, other.y1) - max(self.y0, other.y0))
        union = self.width * self.height + other.width * other.height - across * down
        return across * down / union if union > 0 else 0.0


@dataclass(frozen=True)
class Picture:
    """A file of the pictures folder and its status."""

    path: str
    """Relative to the pictures folder, with forward slashes."""
    stamp: str
    """Size and modification time of the file, to detect changes."""
    width: int | None
    height: int | None
    status: str
    """`heads` (at least one head), `empty` (read, but no head) or `bad` (unusable)."""
    reason: str = ""
    """Short slug; empty for status `heads`."""
    message: str = ""
    """One-line explanation for people."""


@dataclass(frozen=True)
class Head:
    """A head that was found in a picture and cropped to a file."""

    file: str
    """PNG file of the crop, relative to the heads folder."""
    box: Box
    """Box of the head in the picture."""
    score: float
    """Confidence of the detector, 0 to 1."""
    crop: tuple[int, int, int, int]
    """Square that was cropped: x0, y0, x1, y1."""
    id: int = 0
    """Row id in the catalog; 0 before it is written."""
    picture: str = ""
    """Path of the picture, relative to the pictures folder."""


@dataclass(frozen=True)
class Verdict:
    """Whether a head goes into the data set, and who decided it."""

    head_id: int
    verdict: str
    """`keep` or `reject`."""
    reason: str = ""
    """Short slug: `too-small`, `blurred`, `duplicate`, `not-a-head`...; empty for keep."""
    detail: str = ""
    """The measure and the threshold, or the file that it duplicates."""
    by: str = "rule"
    """`rule`, `model` or `person`."""
    at: str = field(default="", compare=False)
    """UTC time written by the catalog; empty before that."""
