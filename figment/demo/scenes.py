"""Compose scenes of characters in several styles and sizes on varied backgrounds, with exact head boxes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from figment.base.pixels import decode_image
from figment.base.records import Box
from figment.demo.styles import BARE, HEADS, THINGS, TILE_PX, TILES, draw, head_mask, mask_box

Generator = np.random.Generator
RENDERED = (96, 192, 288, 480)
"""Sizes in pixels at which drawings are rendered before they are scaled."""


@dataclass(frozen=True)
class Scene:
    """An image and the heads in it."""

    image: Image.Image
    """The image, RGB, or RGBA if the scene has no background."""
    boxes: tuple[Box, ...]
    """Boxes of the heads, hair included, in pixels of the image."""
    styles: tuple[str, ...]
    """The style of each head."""


@dataclass(frozen=True)
class Cast:
    """Which characters appear in a scene, and how."""

    styles: dict[str, float]
    """Style -> weight in the random choice."""
    heads: tuple[int, int] = (1, 4)
    """Minimum and maximum number of characters."""
    head_px: tuple[float, float] = (24.0, 520.0)
    """Minimum and maximum height of a head in pixels, further limited by the size of the image."""
    mirror: float = 0.5
    """Probability that a character is mirrored."""
    seeds: int = 2**31
    """Number of different characters per style; small numbers make the cache of drawings effective."""
    background: bool = True
    """False: leave the background transparent."""


EVERYONE = Cast(dict.fromkeys(HEADS, 1.0), seeds=120)


def draw_scene(
    rng: Generator,
    *,
    styles: Sequence[str] | None = None,  # None: every style with a head
    size: tuple[int, int] | None = None,  # width and height in pixels; None: 240 to 900 each
    heads: int | None = None,  # maximum number of heads; None: 1 to 4
) -> tuple[Image.Image, list[Box]]:
    """Return a random training scene with the wear of real files: an RGB image and its head boxes in pixels."""
    weights = EVERYONE.styles if styles is None else dict.fromkeys(styles, 1.0)
    count = EVERYONE.heads if heads is None else (heads, heads)
    scene = compose(rng, Cast(weights, count, seeds=EVERYONE.seeds), size)
    return wear(rng, scene.image), list(scene.boxes)


def compose(
    rng: Generator,
    cast: Cast,
    size: tuple[int, int] | None = None,  # width and height in pixels; None: 240 to 900 each
) -> Scene:
    """Return a random scene of `cast`. No character hides more than a tenth of another one's head."""
    width, height = size or (int(rng.integers(240, 901)), int(rng.integers(240, 901)))
    image = _background(rng, width, height) if cast.background else Image.new("RGBA", (width, height))
    _clutter(rng, image, cast.background)

    # Try a few positions for each character, and omit it if none is free. The first character always fits.
    boxes: list[Box] = []
    styles: list[str] = []
    names = list(cast.styles)
    weights = np.array([cast.styles[name] for name in names])
    for _ in range(int(rng.integers(cast.heads[0], cast.heads[1] + 1))):
        style = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        figure, mask = _character(rng, style, cast, (width, height))
        head = mask_box(mask)
        for _ in range(8):
            place = _place(rng, head, width, height)
            box = Box(head.x0 + place[0], head.y0 + place[1], head.x1 + place[0], head.y1 + place[1])
            # Neither the head nor the shoulders may hide an earlier head.
            middle, reach = (box.x0 + box.x1) / 2, max(figure.width, 1.3 * box.width) / 2
            floor = max(place[1] + figure.height, box.y1 + 1.9 * box.height)
            torso = Box(middle - reach, box.y1, middle + reach, floor)
            clear = all(_hidden(other, box) + _hidden(other, torso) < 0.1 for other in boxes)
            if box.width > 4 and box.height > 4 and clear:
                _body(rng, image, style, box)
                image.paste(figure, place, figure)
                boxes.append(box)
                styles.append(style)
                break
    return Scene(image, tuple(boxes), tuple(styles))


def _character(
    rng: Generator,
    style: str,
    cast: Cast,
    size: tuple[int, int],  # width and height of the image, which limit the size of the head
) -> tuple[Image.Image, Image.Image]:
    """Return a randomly scaled, rotated and mirrored drawing, RGBA, and its head mask, mode L of the same size."""
    most = max(min(cast.head_px[1], 0.92 * size[1], 1.1 * size[0]), cast.head_px[0] + 1)
    target = float(np.exp(rng.uniform(np.log(cast.head_px[0]), np.log(most))))
    seed = int(rng.integers(cast.seeds))
    rendered = next((side for side in RENDERED if side >= 1.2 * target), RENDERED[-1])
    figure = draw(style, seed, rendered)
    mask = head_mask(style, figure)

    scale = target / max(mask_box(mask).height, 1.0)
    shape = (max(round(figure.width * scale), 4), max(round(figure.height * scale), 4))
    figure = figure.resize(shape, Image.Resampling.BICUBIC, reducing_gap=2.0)
    mask = mask.resize(shape, Image.Resampling.BILINEAR, reducing_gap=2.0)

    if rng.random() < 0.5:
        angle = float(rng.normal(0, 6))
        figure = figure.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        mask = mask.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    if rng.random() < cast.mirror:
        figure, mask = (part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in (figure, mask))
    return figure, mask


def _place(rng: Generator, box: Box, width: int, height: int) -> tuple[int, int]:
    """Return a random offset for a figure that keeps its head, at `box` in the figure, inside the image."""
    left = rng.uniform(-box.x0, max(width - box.x1, -box.x0 + 1e-3))
    top = rng.uniform(-box.y0, max(height - box.y1, -box.y0 + 1e-3))
    return int(left), int(top)


def _hidden(head: Box, figure: Box) -> float:
    """Return the share, 0 to 1, of an earlier head that a figure in front of it would hide."""
    across = max(0.0, min(head.x1, figure.x1) - max(head.x0, figure.x0))
    down = max(0.0, min(head.y1, figure.y1) - max(head.y0, figure.y0))
    return across * down / max(head.width * head.height, 1.0)


def _body(rng: Generator, image: Image.Image, style: str, box: Box) -> None:
    """Draw shoulders below a head of a style without them, with probability 1/2."""
    if style not in BARE or rng.random() < 0.5:
        return
    middle, width = (box.x0 + box.x1) / 2, box.width * float(rng.uniform(0.7, 1.3))
    top = box.y1 - 0.12 * box.height
    shape = (middle - width / 2, top, middle + width / 2, top + box.height * float(rng.uniform(0.8, 2.0)))
    ImageDraw.Draw(image).rounded_rectangle(shape, radius=width * 0.3, fill=_color(rng))


# ---------------------------------------------------------------------- backgrounds and wear


def _color(rng: Generator) -> tuple[int, int, int]:
    """Return a random RGB color; with probability 1/4 a color of skin or hair."""
    if rng.random() < 0.25:
        skins = ((237, 185, 138), (174, 93, 41), (97, 67, 36), (44, 27, 24), (246, 217, 175), (181, 131, 67))
        return skins[int(rng.integers(len(skins)))]
    red, green, blue = (int(value) for value in rng.integers(20, 250, 3))
    return red, green, blue


def _background(rng: Generator, width: int, height: int) -> Image.Image:
    """Return a random RGB background: one color, a gradient, blocks, a drawing or tiles."""
    kind = rng.random()
    if kind < 0.2:
        return Image.new("RGB", (width, height), _color(rng))
    if kind < 0.6:
        cells = rng.integers(0, 256, (int(rng.integers(2, 6)), int(rng.integers(2, 6)), 3), np.uint8)
        smooth = Image.Resampling.BICUBIC if rng.random() < 0.8 else Image.Resampling.NEAREST
        return Image.fromarray(cells).resize((width, height), smooth)
    name = TILES[int(rng.integers(len(TILES)))]
    tile = draw(name, int(rng.integers(40)), TILE_PX.get(name, 256))
    ground = Image.new("RGB", tile.size, _color(rng))
    ground.paste(tile, mask=tile)
    if kind < 0.85:
        return ground.resize((width, height), Image.Resampling.BILINEAR)
    side = int(rng.integers(40, 160))
    small = ground.resize((side, side), Image.Resampling.BILINEAR)
    image = Image.new("RGB", (width, height))
    for y in range(0, height, side):
        for x in range(0, width, side):
            image.paste(small, (x, y))
    return image


def _clutter(rng: Generator, image: Image.Image, shapes: bool) -> None:
    """Draw random shapes, lines and objects without heads on `image`, if `shapes` is true."""
    draw_on = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 10)) if shapes else 0):
        x, y = float(rng.uniform(-40, image.width)), float(rng.uniform(-40, image.height))
        w, h = (float(value) for value in rng.uniform(6, 0.35 * max(image.size), 2))
        kind = int(rng.integers(4))
        if kind == 0:
            draw_on.ellipse((x, y, x + w, y + h), fill=_color(rng))
        elif kind == 1:
            draw_on.rectangle((x, y, x + w, y + h), fill=_color(rng))
        elif kind == 2:
            points = [(x + float(rng.uniform(0, w)), y + float(rng.uniform(0, h))) for _ in range(3)]
            draw_on.polygon(points, fill=_color(rng))
        else:
            draw_on.line((x, y, x + w, y + h), fill=_color(rng), width=int(rng.integers(1, 9)))
    for _ in range(int(rng.integers(0, 4)) if shapes else 0):
        side = int(rng.integers(30, 200))
        thing = draw(THINGS[int(rng.integers(len(THINGS)))], int(rng.integers(60)), 128).resize((side, side))
        image.paste(thing, (int(rng.uniform(-20, image.width)), int(rng.uniform(-20, image.height))), thing)


def wear(rng: Generator, image: Image.Image) -> Image.Image:
    """Return an RGB image after random compression, blur, noise, or change of color or contrast.

    With probability 1/2 it is unchanged.
    """
    kind = rng.random()
    if kind < 0.5:
        return image
    if kind < 0.7:
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=int(rng.integers(25, 90)))
        return decode_image(buffer.getvalue(), "a compressed image")
    if kind < 0.8:
        return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 1.6))))
    if kind < 0.87:
        return image.convert("L").convert("RGB")
    values = np.asarray(image).astype(np.float64)
    if kind < 0.94:
        values = values + rng.normal(0, rng.uniform(3, 16), values.shape)
    else:
        values = (values - 128) * rng.uniform(0.5, 1.2) + 128 + rng.uniform(-50, 50)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
