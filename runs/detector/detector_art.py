"""Training data of the shipped detector: art sources, and endless scenes and crops composed of them.

Sources(Path("/usr/share/games/wesnoth/1.16/data"), None).cutouts(held=True)     # reserved for scoring
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from likeness import Known, no_head, shows
from paste import Cutout, alone, held_out, read_cutouts, scenes, vary
from PIL import Image

from figment.base.errors import UnreadableImage
from figment.base.pixels import open_image
from figment.base.records import Box
from figment.demo.scenes import EVERYONE, Cast, compose, wear
from figment.demo.styles import HEADS, draw_head, parts
from figment.heads.crop import MARGIN
from figment.heads.detect import Detector
from figment.heads.squares import cut_square, square_around

MAX_SIDE = 720
"""Longest side of a scene in pixels; training views are smaller."""
LABELS = Path(__file__).parent / "labels"
PAINTED = 0.6
"""Share of scenes with painted characters, if painted art is available."""
CHARACTERS = 80
"""Number of characters per drawn style in the crops, few enough to cache their drawings."""
PEOPLED = ("landscape-battlefield.jpg",)
"""Story images with people in them."""


@dataclass(frozen=True)
class Sources:
    """Folders of the painted art; None leaves that source out."""

    wesnoth: Path | None
    renpy: Path | None
    everything: bool = False
    """Also train on the held-out images: for a last round after scoring."""

    def cutouts(self, held: bool) -> list[Cutout]:
        """Return the labeled characters that are held out for scoring, or those for training."""
        found = []
        for folder, name in ((self.wesnoth, "wesnoth.json"), (self.renpy, "renpy.json")):
            if folder is not None:
                labels = json.loads((LABELS / name).read_text())
                wanted = {
                    key: boxes
                    for key, boxes in labels.items()
                    if held_out(key) == held or (self.everything and not held)
                }
                found += read_cutouts(folder, wanted)
        fitting = ((cutout.name, *shrink(cutout.image, cutout.boxes)) for cutout in found)
        return [Cutout(name, image, tuple(boxes)) for name, image, boxes in fitting]

    def grounds(self) -> list[Image.Image]:
        """Return backgrounds without heads: landscapes and maps."""
        if self.wesnoth is None:
            return []
        images = self.wesnoth / "core" / "images"
        files = [path for path in sorted((images / "story").glob("*.jpg")) if path.name not in PEOPLED]
        files += [images / "maps" / "background.jpg", images / "maps" / "wesnoth.png"]
        return [shrink(open_image(path))[0] for path in files if path.is_file()]

    def tiles(self) -> list[Image.Image]:
        """Return terrain tiles, RGBA."""
        return self._small("terrain", 400)

    def things(self) -> list[Image.Image]:
        """Return clutter without heads, RGBA: weapons, fists, items, buildings."""
        return self._small("attacks", 400) + self._small("items", 400) + self._small("scenery", 400)

    def _small(self, folder: str, most: int) -> list[Image.Image]:
        """Return about `most` evenly spaced images of one of Wesnoth's image folders, RGBA."""
        if self.wesnoth is None:
            return []
        files = sorted((self.wesnoth / "core" / "images" / folder).rglob("*.png"))
        found = []
        for path in files[:: max(1, len(files) // most)]:
            try:
                image = open_image(path, keep_alpha=True).convert("RGBA")
            except UnreadableImage:
                continue
            box = image.getchannel("A").getbbox()
            if box and min(box[2] - box[0], box[3] - box[1]) >= 16:
                found.append(image.crop(box))
        return found


def shrink(image: Image.Image, boxes: Sequence[Box] = ()) -> tuple[Image.Image, list[Box]]:
    """Return an image and its boxes, downscaled so that the longer side is at most MAX_SIDE."""
    scale = min(1.0, MAX_SIDE / max(image.size))
    if scale < 1:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX)
    return image, [Box(*(value * scale for value in box)) for box in boxes]


class Ground:
    """Draw random backgrounds: part of a landscape, repeated terrain, demo art without heads, one color, a gradient."""

    def __init__(self, pictures: list[Image.Image], tiles: list[Image.Image]) -> None:
        self.pictures, self.tiles = pictures, tiles
        self.nobody = Cast(EVERYONE.styles, heads=(0, 0))

    def __call__(self, rng: np.random.Generator) -> Image.Image:
        kind = rng.random()
        size = (int(rng.integers(240, 641)), int(rng.integers(240, 641)))
        if kind < 0.35 and self.pictures:
            picture = self.pictures[int(rng.integers(len(self.pictures)))]
            share = float(rng.uniform(0.4, 1.0))
            wide, tall = int(picture.width * share), int(picture.height * share)
            x, y = int(rng.integers(picture.width - wide + 1)), int(rng.integers(picture.height - tall + 1))
            return picture.crop((x, y, x + wide, y + tall))
        if kind < 0.5 and self.tiles:
            return self._tiled(rng, size)
        if kind < 0.65:
            return wear(rng, compose(rng, self.nobody, size).image)
        if kind < 0.85:
            return Image.new("RGB", size, tuple(int(v) for v in rng.integers(0, 256, 3)))
        if kind < 0.92:
            level = int(rng.choice([0, 32, 128, 200, 255]))
            return Image.new("RGB", size, (level, level, level))
        cells = rng.integers(0, 256, (2, 2, 3), np.uint8)
        return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)

    def _tiled(self, rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
        """Return one terrain tile repeated over the image, every other column shifted."""
        tile = self.tiles[int(rng.integers(len(self.tiles)))]
        factor = float(rng.uniform(0.6, 3.0))
        tile = tile.resize((max(int(tile.width * factor), 8), max(int(tile.height * factor), 8)))
        picture = Image.new("RGB", size, tuple(int(v) for v in rng.integers(0, 256, 3)))
        across, down = max(int(tile.width * 0.75), 6), max(int(tile.height * 0.9), 6)
        for column, x in enumerate(range(-across, size[0], across)):
            for y in range(-down + (column % 2) * down // 2, size[1], down):
                picture.paste(tile, (x, y), tile)
        return picture


def demo_scenes(seed: int) -> Iterator[tuple[Image.Image, list[Box]]]:
    """Yield demo scenes without end, the same ones for the same seed; one in eight has no head."""
    rng = np.random.default_rng(seed)
    crowd, nobody = Cast(EVERYONE.styles), Cast(EVERYONE.styles, heads=(0, 0))
    while True:
        scene = compose(rng, nobody if rng.random() < 0.125 else crowd)
        yield shrink(wear(rng, scene.image), scene.boxes)


def endless_scenes(sources: Sources, seed: int) -> Iterator[tuple[Image.Image, list[Box]]]:
    """Yield painted and demo scenes without end."""
    rng = np.random.default_rng(seed)
    drawn = demo_scenes(seed)
    cutouts = sources.cutouts(held=False)
    if not cutouts:
        yield from drawn
    painted = scenes(cutouts, Ground(sources.grounds(), sources.tiles()), sources.things(), seed)
    while True:
        yield shrink(*next(painted if rng.random() < PAINTED else drawn))


def known_heads(sources: Sources, seed: int) -> Iterator[list[Known]]:
    """Yield one or two images of one head without end, drawn or painted, three heads of one kind in a row."""
    rng = np.random.default_rng(seed)
    ground = Ground(sources.grounds(), sources.tiles())
    painted = [cutout for cutout in sources.cutouts(held=False) if cutout.boxes]
    styles = list(HEADS)
    while True:
        if painted and rng.random() < 0.4:
            for index in rng.permutation(len(painted))[:3]:
                yield painted_head(rng, painted[int(index)], ground)
        else:
            style = styles[int(rng.integers(len(styles)))]
            for _ in range(3):
                yield drawn_head(rng, style, ground)


def painted_head(rng: np.random.Generator, cutout: Cutout, ground: Ground) -> list[Known]:
    """Return one head of a painted cut-out, on two backgrounds or one."""
    which = int(rng.integers(len(cutout.boxes)))
    box = cutout.boxes[which]
    room = 0.8 * max(box.width, box.height)
    x0, y0 = max(round(box.x0 - room), 0), max(round(box.y0 - room), 0)
    near = cutout.image.crop(
        (x0, y0, min(round(box.x1 + room), cutout.image.width), min(round(box.y1 + room), cutout.image.height))
    )
    moved = Cutout(cutout.name, near, (Box(box.x0 - x0, box.y0 - y0, box.x1 - x0, box.y1 - y0),))
    found = []
    for _ in range(2):
        image, boxes = alone(rng, moved, ground)
        found.append(Known(image, boxes[0], f"{cutout.name} {which}", ("painted", cutout.name.split("/")[-2])))
    return found if rng.random() < 0.6 else found[:1]


def drawn_head(rng: np.random.Generator, style: str, ground: Ground) -> list[Known]:
    """Return a character of a drawn style with its attributes, on two backgrounds or one."""
    seed = int(rng.integers(CHARACTERS))
    drawing, box = draw_head(style, seed, 192)
    found = []
    for _ in range(2):
        image, boxes = vary(rng, drawing, [box]) if rng.random() < 0.5 else (drawing, [box])
        back = ground(rng).resize(image.size, Image.Resampling.BILINEAR)
        back.paste(image, mask=image)
        found.append(Known(back, boxes[0], f"{style} {seed}", (style, *attributes_of(style, seed))))
    return found if rng.random() < 0.6 else found[:1]


@functools.cache
def attributes_of(style: str, seed: int) -> tuple[str, ...]:
    """Return the parts and colors that DiceBear chose for a seed: `hairVariant=long03`, `skinColor=['#9e5622']`..."""
    chosen = parts(style, seed)
    wanted = ("hairVariant", "hairColor", "skinColor", "topVariant", "headVariant", "faceVariant", "baseColor")
    return tuple(f"{style} {name}={chosen[name]}" for name in wanted if chosen.get(name))


def crops_without_heads(sources: Sources, seed: int, mistakes: Sequence[Image.Image]) -> Iterator[Image.Image]:
    """Yield crops without a head, or with less than half of one, without end; one in five is from `mistakes`."""
    rng = np.random.default_rng(seed)
    pictures = endless_scenes(sources, seed)
    held: list[tuple[Image.Image, list[Box]]] = []
    while True:
        if mistakes and rng.random() < 0.2:
            yield mistakes[int(rng.integers(len(mistakes)))]
            continue
        if len(held) < 30 or rng.random() < 0.06:
            held = [*held[-199:], next(pictures)]
        crop = no_head(rng, *held[int(rng.integers(len(held)))])
        if crop is not None:
            yield crop


def mistaken_crops(sources: Sources, detector: Detector) -> list[Image.Image]:
    """Return crops of false positives of a detector on the training art, at a low threshold."""
    found = []
    for cutout in sources.cutouts(held=False):
        picture = Image.new("RGB", cutout.image.size, (255, 255, 255))
        picture.paste(cutout.image, mask=cutout.image.getchannel("A"))
        for wrong in detector.detect(picture, 0.15):
            square = square_around(wrong.box, picture.size, MARGIN)
            if not any(shows(Box(*square), box) for box in cutout.boxes):
                found.append(cut_square(picture, square))
    return found
