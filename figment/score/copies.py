"""The memorisation check: for each fake the nearest training picture, and whether it is a copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from figment.score.features import resize_clean, to_rgb

THUMB = 16
"""Side of the thumbnails that are compared: 3 KB a picture, 154 MB for 50,000."""
CLOSE = 0.01
"""The share of the training pictures that are nearer to another one than the threshold of closeness."""
COPY = 0.5
"""A copy is nearer than this times the threshold of closeness."""
TWIN = 0.05
"""Training pictures nearer to one another than this are copies themselves and say nothing of closeness."""
BLOCK = 256
"""Training pictures that are compared with all others at once: 51 MB for 50,000."""
ENOUGH = 5000
"""Of more training pictures than this, evenly spread ones tell how near neighbours are."""


class Nearest(NamedTuple):
    """A fake and the training picture that looks most like it."""

    fake: str
    real: str
    distance: float
    """0: equal up to brightness and contrast; 1.4: unrelated."""
    mirrored: bool
    """The training picture's mirror image is what is near."""


@dataclass(frozen=True)
class Copies:
    """What the check found."""

    nearest: tuple[Nearest, ...]
    """One for each fake, nearest first."""
    close: float
    """The distance that 1% of the training pictures keep less of to one another."""
    share_close: float
    """The share of fakes nearer than `close`; about 0.01 for fresh pictures of the same kind."""
    copies: tuple[Nearest, ...]
    """The fakes that are copies."""


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A picture uint8 [C, H, W] as THUMB x THUMB colours, mean 0 and length 1: float32 [3 * THUMB * THUMB]."""
    values = resize_clean(image, THUMB).ravel()
    values = values - values.mean()
    unit: np.ndarray = values / max(float(np.linalg.norm(values)), 1.0)
    return unit.astype(np.float32)


def mirror(thumbs: np.ndarray) -> np.ndarray:
    """The thumbnails [N, 3 * THUMB * THUMB] of the mirrored pictures."""
    return thumbs.reshape(-1, 3, THUMB, THUMB)[:, :, :, ::-1].reshape(len(thumbs), -1)


def closeness(thumbs: np.ndarray) -> float:
    """The distance below which 1% of the training pictures [N, K] have a neighbour that is no copy of them."""
    some = thumbs[:: -(-len(thumbs) // ENOUGH)]
    found = np.concatenate(
        [_nearest(some[start : start + BLOCK], thumbs, twins=False)[0] for start in range(0, len(some), BLOCK)]
    )
    return float(np.quantile(found, CLOSE))


def _nearest(
    some: np.ndarray,  # [n, K]
    thumbs: np.ndarray,  # [N, K]
    twins: bool = True,  # False: what is as good as equal, itself included, is no neighbour
) -> tuple[np.ndarray, np.ndarray]:
    """The distance to the nearest of `thumbs`, and which one that is: [n] each."""
    likeness = some @ thumbs.T  # [n, N] correlations
    if not twins:
        likeness[likeness > 1 - TWIN**2 / 2] = -1
    which = likeness.argmax(1)
    best = likeness[np.arange(len(some)), which]
    return np.sqrt(np.maximum(2 - 2 * best, 0)), which


class CopyCheck:
    """Compares fakes with all training pictures, a batch at a time."""

    def __init__(
        self,
        thumbs: np.ndarray,  # of the training pictures, [N, K]
        names: list[str],  # of the training pictures
        close: float,  # their `closeness`
        pictures: int = 24,  # how many of the nearest fakes to keep for the report
    ) -> None:
        self.thumbs, self.names, self.close, self.pictures = thumbs, names, close, pictures
        self._found: list[Nearest] = []
        self._kept: list[tuple[Nearest, np.ndarray]] = []

    def add(self, names: list[str], images: list[np.ndarray]) -> None:
        """Find the nearest training picture of each fake, mirrored or not."""
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
        nearest = tuple(sorted(self._found, key=lambda found: (found.distance, found.fake)))
        distances = np.array([found.distance for found in nearest])
        copies = tuple(found for found in nearest if found.distance <= COPY * self.close)
        return Copies(nearest, self.close, float((distances <= self.close).mean()), copies)

    def kept(self) -> list[tuple[Nearest, np.ndarray]]:
        """The nearest fakes with their pictures, nearest first."""
        return self._kept


def pair_sheet(
    pairs: list[tuple[Nearest, np.ndarray, np.ndarray]],  # a fake and its nearest training picture, uint8 [C, H, W]
    close: float,  # the threshold of closeness
    side: int = 128,  # of each picture on the sheet
    columns: int = 4,  # pairs in a row
) -> Image.Image:
    """Pairs side by side, fake to the left; the line under each says how near, and whether that is a copy."""
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
