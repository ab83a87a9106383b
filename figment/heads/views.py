"""What the detector trains on: views cut out of labelled pictures at many scales, recoloured and damaged."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from figment.base.pixels import decode_image
from figment.base.records import Box

Scene = tuple[Image.Image, Sequence[Box]]
"""An RGB picture and the heads in it."""
WHOLE = 0.25
"""Share of views that show all of their picture."""
FILL = 128
"""The grey beyond a picture's edge, here and in detection."""


@dataclass(frozen=True)
class View:
    """One training example."""

    pixels: np.ndarray
    """uint8 [size, size, 3]."""
    heads: list[Box]
    ignored: list[Box]
    """Heads of which too little is left to call them heads, too much to call them background."""


class ScenePool:
    """A changing set of scenes: a few fresh ones each batch, each used in many views before it leaves."""

    def __init__(
        self,
        scenes: Iterable[Scene],  # endless, or as many as there are: then the pool stops changing
        size: int = 400,  # how many scenes to hold
    ) -> None:
        self.source = iter(scenes)
        self.size = size
        self.held: list[Scene] = []
        self.oldest = 0

    def refresh(self, count: int) -> None:
        """Take up to `count` scenes from the source; when the pool is full each replaces the oldest."""
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
        size: int,  # the view's side in pixels
    ) -> View:
        """A random view: mostly of one scene, at times a mosaic of four (Bochkovskiy 2020)."""

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
    """A square of `image`, scaled to `size`: all of it, around a head at a random scale, or anywhere."""
    width, height = image.size
    longest = max(width, height)

    # At times the whole picture, in the corner where detection puts it.
    if rng.random() < WHOLE:
        span = longest * float(np.exp(rng.uniform(0, 0.25)))
        return _scaled(image, boxes, (0.0, 0.0, span, span), size)

    # How many pixels the view spans: so many that a head gets a size that is even on a log scale, or any number.
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

    # Mostly shift the view into the picture, as heads at a detector's inputs hardly ever float in grey.
    if rng.random() < 0.85:
        x0 = float(np.clip(x0, min(0, width - span), max(0, width - span)))
        y0 = float(np.clip(y0, min(0, height - span), max(0, height - span)))
    stretch = float(np.exp(rng.normal(0, 0.06)))
    return _scaled(image, boxes, (x0, y0, x0 + span, y0 + span * stretch), size)


def _scaled(
    image: Image.Image,
    boxes: Sequence[Box],
    area: tuple[float, float, float, float],  # x0, y0, x1, y1 in pixels of `image`; may leave it
    size: int,
) -> View:
    """The part `area` of `image` at `size` x `size`, grey beyond the edges, with its boxes."""
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
    """Four views of the same side as the quarters of one of twice that side."""
    half = views[0].pixels.shape[0]
    joined = View(np.empty((2 * half, 2 * half, 3), np.uint8), [], [])
    for i, view in enumerate(views):
        x, y = half * (i % 2), half * (i // 2)
        joined.pixels[y : y + half, x : x + half] = view.pixels
        joined.heads.extend(Box(b.x0 + x, b.y0 + y, b.x1 + x, b.y1 + y) for b in view.heads)
        joined.ignored.extend(Box(b.x0 + x, b.y0 + y, b.x1 + x, b.y1 + y) for b in view.ignored)
    return joined


def mirror(view: View) -> View:
    """The view with left and right swapped."""
    width = view.pixels.shape[1]
    heads, ignored = (
        [Box(width - b.x1, b.y0, width - b.x0, b.y1) for b in boxes] for boxes in (view.heads, view.ignored)
    )
    return View(np.ascontiguousarray(view.pixels[:, ::-1]), heads, ignored)


def damage(
    rng: np.random.Generator,
    view: View,
) -> View:
    """The view under other light, in grey, with channels swapped, blurred, noisy or as a poor JPEG."""
    pixels = view.pixels.astype(np.float32)
    if rng.random() < 0.8:
        mean = pixels.mean(axis=(0, 1))
        gain = rng.uniform(0.65, 1.35) * rng.uniform(0.88, 1.12, 3)
        pixels = (pixels - mean) * gain.astype(np.float32) + mean + rng.uniform(-35, 35)
    if rng.random() < 0.5:
        grey = pixels.mean(axis=2, keepdims=True)
        pixels = grey + (pixels - grey) * rng.uniform(0.2, 1.5)
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
