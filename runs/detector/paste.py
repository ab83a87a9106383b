"""Compose training scenes from labeled cut-outs: painted characters with alpha, pasted over other images.

cutouts = read_cutouts(art, labels)                  # images with alpha and their head boxes
for image, boxes in scenes(cutouts, ground, things, seed=0): ...     # endless
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from figment.base.pixels import open_image
from figment.base.records import Box
from figment.heads.views import Scene

Ground = Callable[[np.random.Generator], Image.Image]
"""Draws a background without heads: RGB, any size."""
MAX_SIDE = 720
"""Longest side of a scene."""
ALIKE = {"marshal": "general", "young": "ogre"}
"""Aliases of Wesnoth portrait families: the same drawing with other details under another name."""
HELD_OUT = 5
"""One family in HELD_OUT is reserved for scoring."""


@dataclass(frozen=True)
class Cutout:
    """A character with a transparent background, and the boxes of its heads."""

    name: str
    image: Image.Image
    """RGBA."""
    boxes: tuple[Box, ...]


def read_cutouts(
    folder: Path,  # folder that names in `labels` are relative to
    labels: Mapping[str, Sequence[Sequence[float]]],  # name -> [[x0, y0, x1, y1], ...]
) -> list[Cutout]:
    """Return every labeled image as RGBA; images without alpha are opaque."""
    return [
        Cutout(name, open_image(folder / name, keep_alpha=True).convert("RGBA"), tuple(Box(*b) for b in boxes))
        for name, boxes in sorted(labels.items())
    ]


def family(name: str) -> str:
    """Return the character family of a file: `mage` for `humans/mage-red+female-2.png` and `humans/mage.png`."""
    first = re.split(r"[-+_ \d]", PurePosixPath(name).stem)[0].lower()
    return ALIKE.get(first, first)


def held_out(name: str) -> bool:
    """Return whether a labeled image is reserved for scoring. All variants of a character give the same answer."""
    return int(hashlib.sha256(family(name).encode()).hexdigest(), 16) % HELD_OUT == 0


def scenes(
    cutouts: Sequence[Cutout],
    ground: Ground,
    things: Sequence[Image.Image],  # RGBA clutter without heads
    seed: int,
    *,
    plain: float = 0.6,  # share of scenes with one cut-out that fills the image
    empty: float = 0.1,  # share of scenes without any head
) -> Iterator[Scene]:
    """Yield scenes without end, the same ones for the same seed: one cut-out alone, several composed, or none."""
    rng = np.random.default_rng(seed)
    while True:
        kind = rng.random()
        if kind < empty:
            yield compose(rng, [], ground, things)
        elif kind < empty + plain:
            yield alone(rng, cutouts[int(rng.integers(len(cutouts)))], ground)
        else:
            count = int(rng.integers(1, 4))
            cast = [cutouts[int(rng.integers(len(cutouts)))] for _ in range(count)]
            yield compose(rng, cast, ground, things)


def alone(
    rng: np.random.Generator,
    cutout: Cutout,
    ground: Ground,
) -> Scene:
    """Return a scene with one cut-out at its own size, mostly on white as `open_image` composites it."""
    kind = rng.random()
    untouched = kind < 0.35
    image, boxes = (cutout.image, list(cutout.boxes)) if untouched else vary(rng, cutout.image, cutout.boxes)
    if kind < 0.5:
        back = Image.new("RGB", image.size, (255, 255, 255))
    else:
        back = ground(rng).resize(image.size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    back.paste(image, mask=image.getchannel("A"))
    return back, boxes


def compose(
    rng: np.random.Generator,
    cast: Sequence[Cutout],
    ground: Ground,
    things: Sequence[Image.Image],
) -> Scene:
    """Return a scene with cut-outs and clutter of any size that may overlap, with heads mostly visible."""
    picture = ground(rng)
    scale = float(rng.uniform(0.55, 1.0)) * MAX_SIDE / max(picture.size)
    picture = picture.resize(
        (max(round(picture.width * scale), 64), max(round(picture.height * scale), 64)),
        Image.Resampling.BILINEAR,
        reducing_gap=2.0,
    )
    for _ in range(int(rng.integers(0, 4))):
        _paste_thing(rng, picture, things, [])

    boxes: list[Box] = []
    for cutout in cast:
        image, heads = vary(rng, cutout.image, cutout.boxes)
        if not heads:
            continue
        largest = max(max(head.width, head.height) for head in heads)
        most = 0.85 * min(picture.size)
        factor = math.exp(float(rng.uniform(math.log(20), math.log(most)))) / largest
        factor = min(factor, 1.3 * max(picture.size) / max(image.size))
        shape = (max(round(image.width * factor), 8), max(round(image.height * factor), 8))
        image = image.resize(shape, Image.Resampling.BILINEAR, reducing_gap=2.0)
        first = heads[0]

        # Up to six attempts: the first head must lie inside the image, and earlier heads must stay visible.
        solid = np.asarray(image.getchannel("A")) > 128  # [h, w]
        for _ in range(6):
            x = int(rng.uniform(-first.x0 * factor, max(picture.width - first.x1 * factor, 1 - first.x0 * factor)))
            y = int(rng.uniform(-first.y0 * factor, max(picture.height - first.y1 * factor, 1 - first.y0 * factor)))
            if any(_covered(solid, x, y, box) > 0.2 for box in boxes):
                continue
            picture.paste(image, (x, y), image)
            placed = [Box(h.x0 * factor + x, h.y0 * factor + y, h.x1 * factor + x, h.y1 * factor + y) for h in heads]
            boxes += [box for box in (_inside(box, picture.size) for box in placed) if box is not None]
            break

    for _ in range(int(rng.integers(0, 3))):
        _paste_thing(rng, picture, things, boxes)
    return picture, boxes


def vary(
    rng: np.random.Generator,
    image: Image.Image,  # RGBA
    boxes: Sequence[Box],
) -> tuple[Image.Image, list[Box]]:
    """Return a randomly mirrored, stretched, rotated and recolored cut-out and its head boxes.

    Rotated boxes bound the ellipse inscribed in the original box.
    """
    found = list(boxes)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        found = [Box(image.width - b.x1, b.y0, image.width - b.x0, b.y1) for b in found]

    if rng.random() < 0.5:
        across, down = (float(np.exp(rng.normal(0, 0.08))) for _ in range(2))
        image = image.resize(
            (max(round(image.width * across), 8), max(round(image.height * down), 8)), Image.Resampling.BILINEAR
        )
        found = [Box(b.x0 * across, b.y0 * down, b.x1 * across, b.y1 * down) for b in found]

    if rng.random() < 0.5:
        angle = float(np.clip(rng.normal(0, 9), -25, 25))
        turned = image.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        found = [_rotate_box(box, angle, image.size, turned.size) for box in found]
        image = turned
    return (recolor(rng, image) if rng.random() < 0.6 else image), found


def recolor(
    rng: np.random.Generator,
    image: Image.Image,  # RGBA
) -> Image.Image:
    """Return the image with random changes of hue, saturation and lightness; alpha stays."""
    parts = np.asarray(image.convert("RGB").convert("HSV")).astype(np.float64)  # [h, w, 3]
    if rng.random() < 0.5:
        parts[..., 0] = (parts[..., 0] + rng.uniform(0, 256)) % 256
    parts[..., 1] = np.clip(parts[..., 1] * rng.uniform(0.4, 1.6), 0, 255)
    parts[..., 2] = 255 * (parts[..., 2] / 255) ** rng.uniform(0.6, 1.7)
    recolored = Image.merge("HSV", [Image.fromarray(part) for part in np.moveaxis(parts.astype(np.uint8), 2, 0)])
    recolored = recolored.convert("RGB")
    recolored.putalpha(image.getchannel("A"))
    return recolored


def _rotate_box(
    box: Box,
    angle: float,  # degrees counter-clockwise, as in PIL
    size: tuple[int, int],  # image size before
    turned: tuple[int, int],  # image size after, with expand=True
) -> Box:
    """Return the bounding box of the ellipse inscribed in `box` after rotating the image about its center."""
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    x, y = (box.x0 + box.x1 - size[0]) / 2, (box.y0 + box.y1 - size[1]) / 2
    middle = (cosine * x + sine * y + turned[0] / 2, -sine * x + cosine * y + turned[1] / 2)
    wide = math.hypot(cosine * box.width, sine * box.height) / 2
    tall = math.hypot(sine * box.width, cosine * box.height) / 2
    return Box(middle[0] - wide, middle[1] - tall, middle[0] + wide, middle[1] + tall)


def _covered(
    solid: np.ndarray,  # bool [h, w]: the opaque pixels of a figure
    x: int,  # left edge of the figure
    y: int,  # top edge of the figure
    box: Box,
) -> float:
    """Return the share of `box` that the figure would cover."""
    x0, y0, x1, y1 = (round(value) for value in box)
    part = solid[max(y0 - y, 0) : max(y1 - y, 0), max(x0 - x, 0) : max(x1 - x, 0)]
    return float(part.sum()) / max((x1 - x0) * (y1 - y0), 1)


def _inside(box: Box, size: tuple[int, int]) -> Box | None:
    """Return the part of `box` inside the image, or None if that is less than two thirds of it."""
    seen = Box(max(box.x0, 0.0), max(box.y0, 0.0), min(box.x1, float(size[0])), min(box.y1, float(size[1])))
    if seen.width <= 0 or seen.height <= 0 or seen.width * seen.height < 0.66 * box.width * box.height:
        return None
    return seen


def _paste_thing(
    rng: np.random.Generator,
    picture: Image.Image,
    things: Sequence[Image.Image],
    boxes: Sequence[Box],  # heads that must stay mostly visible
) -> None:
    """Paste one piece of clutter at a random place, unless it would cover a quarter of a head there."""
    if not things:
        return
    thing = things[int(rng.integers(len(things)))]
    factor = math.exp(float(rng.uniform(math.log(20), math.log(320)))) / max(thing.size)
    shape = (max(round(thing.width * factor), 4), max(round(thing.height * factor), 4))
    thing = thing.resize(shape, Image.Resampling.BILINEAR, reducing_gap=2.0)
    x, y = int(rng.uniform(-shape[0] / 2, picture.width)), int(rng.uniform(-shape[1] / 2, picture.height))
    solid = np.asarray(thing.getchannel("A")) > 128
    if all(_covered(solid, x, y, box) < 0.25 for box in boxes):
        picture.paste(thing, (x, y), thing)
