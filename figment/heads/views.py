"""Training views of the detector: cut out of labeled images at many scales, with color changes and damage."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from figment.base.pixels import decode_image
from figment.base.records import Box
from figment.heads.fuse import mirror_box

Scene = tuple[Image.Image, Sequence[Box]]
"""An RGB image and the heads in it."""
WHOLE = 0.25
"""Share of views that show the whole image."""
FILL = 128
"""Gray value outside of images, in training and in detection."""


@dataclass(frozen=True)
class View:
    """One training example."""

    pixels: np.ndarray
    """uint8 [size, size, 3]."""
    heads: list[Box]
    ignored: list[Box]
    """Heads that the view cuts too much to count as heads, but not enough to count as background."""


class ScenePool:
    """A pool of scenes that replaces a few per batch, so that each one is used in many views."""

    def __init__(
        self,
        scenes: Iterable[Scene],  # the pool stops changing when they end
        size: int = 400,  # scenes in memory
    ) -> None:
        self.source = iter(scenes)
        self.size = size
        self.held: list[Scene] = []
        self.oldest = 0

    def refresh(self, count: int) -> None:
        """Take up to `count` scenes from the source; in a full pool each replaces the oldest."""
        for _ in range(count):
            scene = next(self.source, None)
            if scene is None:
                return
            if len(self.held) < self.size:
                self.held.append(scene)
            else:
                self.held[self.oldest] = scene
                self.oldest = (self.oldest + 1) % self.size

    def draw(
        self,
        rng: np.random.Generator,
        size: int,  # side of the view in pixels
    ) -> View:
        """Return a random view of one scene, or a mosaic of four (Bochkovskiy et al. 2020, arXiv 2004.10934)."""

        def pick() -> Scene:
            return self.held[int(rng.integers(len(self.held)))]

        if rng.random() < 0.15:
            view = mosaic([cut_view(rng, *pick(), size // 2) for _ in range(4)])
        else:
            view = cut_view(rng, *pick(), size)
        return damage(rng, mirror(view) if rng.random() < 0.5 else view)


def cut_view(
    rng: np.random.Generator,
    image: Image.Image,
    boxes: Sequence[Box],
    size: int,
) -> View:
    """Return a square of `image` scaled to `size`: the whole image, around a head at a random scale, or anywhere."""
    width, height = image.size
    longest = max(width, height)

    # Sometimes the whole image, in the upper left corner as in detection.
    if rng.random() < WHOLE:
        span = longest * float(np.exp(rng.uniform(0, 0.25)))
        return _scaled(image, boxes, (0.0, 0.0, span, span), size)

    # Choose the span so that a head gets a log-uniform size, or a random span.
    if boxes and rng.random() < 0.8:
        box = boxes[int(rng.integers(len(boxes)))]
        wanted = np.exp(rng.uniform(np.log(16), np.log(size * 1.05)))
        span = max(box.width, box.height) * size / wanted
        span = float(np.clip(span, size / 4, longest * 1.15))
        middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        x0 = middle[0] - span * rng.uniform(0.2, 0.8)
        y0 = middle[1] - span * rng.uniform(0.2, 0.8)
    else:
        span = longest * float(np.exp(rng.uniform(np.log(0.2), np.log(1.05))))
        x0 = rng.uniform(min(0, width - span), max(0, width - span))
        y0 = rng.uniform(min(0, height - span), max(0, height - span))

    # Mostly shift the view into the image, since heads in detection are rarely surrounded by gray.
    if rng.random() < 0.85:
        x0 = float(np.clip(x0, min(0, width - span), max(0, width - span)))
        y0 = float(np.clip(y0, min(0, height - span), max(0, height - span)))
    stretch = float(np.exp(rng.normal(0, 0.06)))
    return _scaled(image, boxes, (x0, y0, x0 + span, y0 + span * stretch), size)


def _scaled(
    image: Image.Image,
    boxes: Sequence[Box],
    area: tuple[float, float, float, float],  # x0, y0, x1, y1 in pixels of `image`; may reach outside of it
    size: int,
) -> View:
    """Return `area` of `image` at `size` x `size`, gray outside of the image, with its boxes."""
    across, down = size / (area[2] - area[0]), size / (area[3] - area[1])
    inside = (max(area[0], 0), max(area[1], 0), min(area[2], image.width), min(area[3], image.height))
    pixels = np.full((size, size, 3), FILL, np.uint8)
    left, top = round((inside[0] - area[0]) * across), round((inside[1] - area[1]) * down)
    right, bottom = round((inside[2] - area[0]) * across), round((inside[3] - area[1]) * down)
    if right > left and bottom > top:
        part = image.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=inside, reducing_gap=2.0)
        pixels[top:bottom, left:right] = np.asarray(part)

    view = View(pixels, [], [])
    for box in boxes:
        x0, x1 = ((x - area[0]) * across for x in (box.x0, box.x1))
        y0, y1 = ((y - area[1]) * down for y in (box.y0, box.y1))
        seen = Box(max(x0, 0), max(y0, 0), min(x1, size), min(y1, size))
        if seen.width <= 0 or seen.height <= 0:
            continue
        share = seen.width * seen.height / ((x1 - x0) * (y1 - y0))
        if share >= 0.65:
            view.heads.append(seen)
        elif share > 0.2:
            view.ignored.append(seen)
    return view


def mosaic(views: Sequence[View]) -> View:
    """Return four views of the same side as one view of twice that side."""
    half = views[0].pixels.shape[0]
    joined = View(np.empty((2 * half, 2 * half, 3), np.uint8), [], [])
    for i, view in enumerate(views):
        x, y = half * (i % 2), half * (i // 2)
        joined.pixels[y : y + half, x : x + half] = view.pixels
        joined.heads.extend(Box(b.x0 + x, b.y0 + y, b.x1 + x, b.y1 + y) for b in view.heads)
        joined.ignored.extend(Box(b.x0 + x, b.y0 + y, b.x1 + x, b.y1 + y) for b in view.ignored)
    return joined


def mirror(view: View) -> View:
    """Return the mirrored view."""
    width = view.pixels.shape[1]
    heads, ignored = ([mirror_box(box, width) for box in boxes] for boxes in (view.heads, view.ignored))
    return View(np.ascontiguousarray(view.pixels[:, ::-1]), heads, ignored)


def damage(
    rng: np.random.Generator,
    view: View,
) -> View:
    """Return the view with random changes: light, gray, swapped channels, blur, noise, strong JPEG compression."""
    pixels = view.pixels.astype(np.float32)
    if rng.random() < 0.8:
        mean = pixels.mean(axis=(0, 1))
        gain = rng.uniform(0.65, 1.35) * rng.uniform(0.88, 1.12, 3)
        pixels = (pixels - mean) * gain.astype(np.float32) + mean + rng.uniform(-35, 35)
    if rng.random() < 0.5:
        gray = pixels.mean(axis=2, keepdims=True)
        pixels = gray + (pixels - gray) * rng.uniform(0.2, 1.5)
    if rng.random() < 0.15:
        pixels = pixels[:, :, rng.permutation(3)]
    if rng.random() < 0.06:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.1:
        pixels = pixels + rng.normal(0, rng.uniform(2, 14), pixels.shape).astype(np.float32)
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)

    if rng.random() < 0.1:
        pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.4)))))
    if rng.random() < 0.15:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(20, 80)))
        pixels = np.asarray(decode_image(buffer.getvalue(), "view"))
    return View(pixels, view.heads, view.ignored)
