"""Detect memorization: for each fake the nearest training image, and whether it is a copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from figment.score.features import resize_clean, to_rgb

THUMB = 16
"""Side of the thumbnails that are compared: 3 KB each, 154 MB for 50,000."""
CLOSE = 0.01
"""Quantile of the nearest-neighbor distances between training images that is the closeness threshold."""
COPY = 0.5
"""A fake is a copy if its distance is at most this times the closeness threshold."""
TWIN = 0.05
"""Training images nearer to one another than this are duplicates and don't count for the threshold."""
BLOCK = 256
"""Training images compared with all others at once: 51 MB for 50,000."""
ENOUGH = 5000
"""The closeness threshold is measured on at most about this number of training images, evenly spread."""


class Nearest(NamedTuple):
    """A fake and its nearest training image."""

    fake: str
    real: str
    distance: float
    """0 for images equal up to brightness and contrast, 1.4 for unrelated ones."""
    mirrored: bool
    """Whether the mirrored training image is the nearest."""


@dataclass(frozen=True)
class Copies:
    """Result of the check."""

    nearest: tuple[Nearest, ...]
    """Nearest training image of each fake, smallest distance first."""
    close: float
    """1st percentile of the nearest-neighbor distance between training images."""
    share_close: float
    """Share of fakes nearer than `close`; about 0.01 for new images of the same distribution."""
    copies: tuple[Nearest, ...]
    """Fakes that are copies."""


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return an image uint8 [C, H, W] as THUMB x THUMB colors with mean 0 and length 1, float32 [3 * THUMB * THUMB]."""
    values = resize_clean(image, THUMB).ravel()
    values = values - values.mean()
    unit: np.ndarray = values / max(float(np.linalg.norm(values)), 1.0)
    return unit.astype(np.float32)


def mirror(thumbs: np.ndarray) -> np.ndarray:
    """Return the thumbnails [N, 3 * THUMB * THUMB] of the mirrored images."""
    return thumbs.reshape(-1, 3, THUMB, THUMB)[:, :, :, ::-1].reshape(len(thumbs), -1)


def closeness(thumbs: np.ndarray) -> float:
    """Return the 1st percentile of the nearest-neighbor distance between thumbnails [N, K], without duplicates.

    If all are duplicates, it is the value with which a copy is as near as they are.
    """
    some = thumbs[:: -(-len(thumbs) // ENOUGH)]
    found = np.concatenate(
        [_nearest(some[start : start + BLOCK], thumbs, twins=False)[0] for start in range(0, len(some), BLOCK)]
    )
    found = found[found < 2]  # others have duplicates alone
    return float(np.quantile(found, CLOSE)) if len(found) else TWIN / COPY


def _nearest(
    some: np.ndarray,  # [n, K]
    thumbs: np.ndarray,  # [N, K]
    twins: bool = True,  # False ignores duplicates, the image itself included
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance to the nearest of `thumbs` and its index, [n] each."""
    likeness = some @ thumbs.T  # [n, N] correlations
    if not twins:
        likeness[likeness > 1 - TWIN**2 / 2] = -1
    which = likeness.argmax(1)
    best = likeness[np.arange(len(some)), which]
    return np.sqrt(np.maximum(2 - 2 * best, 0)), which


class CopyCheck:
    """Compares fakes with all training images, batch by batch."""

    def __init__(
        self,
        thumbs: np.ndarray,  # thumbnails of the training images, [N, K]
        names: list[str],  # names of the training images
        close: float,  # their `closeness`
        pictures: int = 24,  # nearest fakes to keep for the report
    ) -> None:
        self.thumbs, self.names, self.close, self.pictures = thumbs, names, close, pictures
        self._found: list[Nearest] = []
        self._kept: list[tuple[Nearest, np.ndarray]] = []

    def add(self, names: list[str], images: list[np.ndarray]) -> None:
        """Find the nearest training image, mirrored or not, of each fake uint8 [C, H, W]."""
        mine = np.stack([thumbnail(image) for image in images])
        plain, which = _nearest(mine, self.thumbs)
        turned, which_turned = _nearest(mirror(mine), self.thumbs)
        for i, (name, image) in enumerate(zip(names, images, strict=True)):
            flip = bool(turned[i] < plain[i])
            real = self.names[int((which_turned if flip else which)[i])]
            found = Nearest(name, real, float((turned if flip else plain)[i]), flip)
            self._found.append(found)
            self._kept.append((found, image))
        self._kept = sorted(self._kept, key=lambda pair: (pair[0].distance, pair[0].fake))[: self.pictures]

    def result(self) -> Copies:
        """Return what was found so far."""
        nearest = tuple(sorted(self._found, key=lambda found: (found.distance, found.fake)))
        distances = np.array([found.distance for found in nearest])
        copies = tuple(found for found in nearest if found.distance <= COPY * self.close)
        return Copies(nearest, self.close, float((distances <= self.close).mean()), copies)

    def kept(self) -> list[tuple[Nearest, np.ndarray]]:
        """Return the nearest fakes with their images, nearest first."""
        return self._kept


def pair_sheet(
    pairs: list[tuple[Nearest, np.ndarray, np.ndarray]],  # with the fake and the training image, uint8 [C, H, W]
    close: float,  # the closeness threshold
    side: int = 128,  # side of each image in pixels
    columns: int = 4,  # pairs per row
) -> Image.Image:
    """Return a sheet of pairs, fake on the left, with the distance and whether it is a copy below each."""
    rows, line = -(-len(pairs) // columns), 18
    sheet = Image.new("RGB", (columns * (2 * side + 12), rows * (side + line + 6)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (found, fake, real) in enumerate(pairs):
        x, y = i % columns * (2 * side + 12), i // columns * (side + line + 6)
        for k, image in enumerate((fake, real[:, :, ::-1] if found.mirrored else real)):
            tile = Image.fromarray(np.ascontiguousarray(to_rgb(image).transpose(1, 2, 0)))
            sheet.paste(tile.resize((side, side), Image.Resampling.BICUBIC), (x + k * side, y))
        what = "COPY" if found.distance <= COPY * close else "close" if found.distance <= close else ""
        text = f"{found.distance:.3f} {what}{' mirrored' if found.mirrored else ''}  {found.fake}"
        draw.text((x + 2, y + side + 2), text[:44], fill="red" if what == "COPY" else "black")
    return sheet
