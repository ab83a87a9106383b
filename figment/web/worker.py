"""Draw on a single thread: requests wait in a bounded queue, are drawn in batches and cached by recipe.

    worker = Worker()
    worker.show(Scene(g, composer, digest))
    png = worker.ask(parse_recipe("17@0.7")).future.result()

Equal requests at the same time are drawn once, and requests without a waiting visitor are not drawn. Videos request
their frames through the same queue, with lower priority than images.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from figment.base.errors import FigmentError
from figment.draw.render import draw_pictures, picture_png
from figment.nets.base import Generator
from figment.web.compose import Composer
from figment.web.recipe import Recipe

QUEUE = 600
"""Most waiting images; more are refused."""
BATCH = 16
"""Most images in a batch."""
FILM_SHARE = 4
"""One in this many places of a batch is reserved for the frames of a video."""
CACHE_BYTES = 32 << 20
"""Size of the image cache in bytes."""
SIZES = (96, 128, 256, 384, 512)
"""Sides that an image may be requested at, if they are smaller than its own."""


class Busy(Exception):
    """Too many requests are waiting."""


@dataclass(frozen=True)
class Scene:
    """The generator that the studio shows."""

    g: Generator
    composer: Composer
    digest: str
    """Digest of the model's file."""


@dataclass
class Pending:
    """A requested image."""

    key: Hashable
    scene: Scene
    recipe: Recipe | None = None
    size: int | None = None
    w: Tensor | None = None
    """w [L, D] of a video frame, which has no recipe."""
    waiting: int = 1
    future: Future[Any] = field(default_factory=Future)


class PictureCache:
    """Least recently used cache of PNGs with a limit in bytes."""

    def __init__(
        self,
        limit: int = CACHE_BYTES,
    ) -> None:
        self.limit, self.bytes = limit, 0
        self.items: OrderedDict[Hashable, bytes] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """Return the PNG of `key`; None if it is not cached."""
        with self.lock:
            if key in self.items:
                self.items.move_to_end(key)
            return self.items.get(key)

    def put(self, key: Hashable, data: bytes) -> None:
        """Add a PNG and drop the least recently used ones beyond the limit."""
        with self.lock:
            self.bytes += len(data) - len(self.items.pop(key, b""))
            self.items[key] = data
            while self.bytes > self.limit:
                self.bytes -= len(self.items.popitem(last=False)[1])


class Worker:
    """Draws requested images on one thread; two more encode PNGs."""

    def __init__(
        self,
        *,
        queue: int = QUEUE,
        batch: int = BATCH,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.limit, self.batch, self.cache = queue, batch, PictureCache(cache_bytes)
        self.scene: Scene | None = None
        self.pictures: OrderedDict[Hashable, Pending] = OrderedDict()
        self.frames: OrderedDict[Hashable, Pending] = OrderedDict()
        self.known: dict[Hashable, Pending] = {}
        self.drawn, self.batches, self.largest = 0, 0, 0
        self.change = threading.Condition()
        self.closed = False
        self.packers = ThreadPoolExecutor(2, "figment-png")
        self.thread = threading.Thread(target=self._work, name="figment-draw", daemon=True)
        self.thread.start()

    def show(self, scene: Scene) -> None:
        """Draw new requests with another generator."""
        self.scene = scene

    def need_scene(self) -> Scene:
        """Return the generator that is shown; raises FigmentError if the run has not written a model yet."""
        if self.scene is None:
            raise FigmentError("this run has not written a model yet; it will after its first tick")
        return self.scene

    # ------------------------------------------------------------------ requests

    def key(self, recipe: Recipe, size: int | None = None) -> tuple[str, str, int | None]:
        """Return the cache key of an image."""
        scene = self.need_scene()
        return (scene.digest, str(recipe), size if size in SIZES and size < scene.g.resolution else None)

    def ask(self, recipe: Recipe, size: int | None = None) -> Pending:
        """Request an image, or join an equal request; the future returns its PNG. Raises Busy."""
        key, scene = self.key(recipe, size), self.need_scene()
        with self.change:
            if key in self.known:
                self.known[key].waiting += 1
                return self.known[key]
            return self._enqueue(Pending(key, scene, recipe, key[2]), self.pictures)

    def ask_frame(self, scene: Scene, w: Tensor) -> Pending:
        """Request a video frame; the future returns uint8 [H, W, C]. Raises Busy."""
        with self.change:
            pending = Pending(object(), scene, w=w)
            return self._enqueue(pending, self.frames)

    def release(self, pending: Pending) -> None:
        """Stop waiting for a request; it is cancelled if nobody else waits."""
        with self.change:
            pending.waiting -= 1
            if pending.waiting <= 0 and self.pictures.pop(pending.key, None) is not None:
                self.known.pop(pending.key, None)
                pending.future.cancel()

    def _enqueue(self, pending: Pending, queue: OrderedDict[Hashable, Pending]) -> Pending:
        if self.closed or len(self.known) >= self.limit:
            raise Busy
        queue[pending.key] = self.known[pending.key] = pending
        self.change.notify()
        return pending

    def close(self) -> None:
        """Finish the current batch and stop; waiting requests fail with Busy."""
        with self.change:
            self.closed = True
            left = [*self.pictures.values(), *self.frames.values()]
            self.pictures.clear()
            self.frames.clear()
            self.change.notify_all()
        for pending in left:
            pending.future.set_exception(Busy())
        self.thread.join(timeout=30)
        self.packers.shutdown()

    # ------------------------------------------------------------------ drawing

    def _take(self) -> list[Pending]:
        """Wait for requests and return the next batch; empty when the worker is closed."""
        with self.change:
            self.change.wait_for(lambda: self.closed or self.pictures or self.frames)
            for_frames = min(len(self.frames), max(self.batch // FILM_SHARE, self.batch - len(self.pictures)))
            taken = [
                self.pictures.popitem(last=False)[1] for _ in range(min(len(self.pictures), self.batch - for_frames))
            ]
            return taken + [self.frames.popitem(last=False)[1] for _ in range(for_frames)]

    def _work(self) -> None:
        with torch.inference_mode():
            while batch := self._take():
                self.batches += 1
                self.largest = max(self.largest, len(batch))
                for scene in {id(pending.scene): pending.scene for pending in batch}.values():
                    self._draw(scene, [pending for pending in batch if pending.scene is scene])

    def _draw(self, scene: Scene, batch: list[Pending]) -> None:
        """Draw `batch` and settle its requests; those that can't be drawn get the error."""
        ready = []
        for pending in batch:
            try:
                w = pending.w if pending.recipe is None else scene.composer.w(pending.recipe)
                ready.append((pending, w))
            except Exception as error:
                self._settle(pending, error=error)
        if not ready:
            return
        try:
            pictures = draw_pictures(scene.g, torch.stack([w for _, w in ready if w is not None]))
        except Exception as error:
            for pending, _ in ready:
                self._settle(pending, error=error)
            return
        self.drawn += len(ready)
        for (pending, _), picture in zip(ready, pictures, strict=True):
            if pending.recipe is None:
                self._settle(pending, picture)
            else:
                self.packers.submit(self._pack, pending, picture)

    def _pack(self, pending: Pending, picture: np.ndarray) -> None:
        """Encode an image as PNG, cache it and settle its request."""
        try:
            if pending.size:
                picture = smaller(picture, pending.size)
            data = picture_png(picture)
            self.cache.put(pending.key, data)
            self._settle(pending, data)
        except Exception as error:
            self._settle(pending, error=error)

    def _settle(
        self,
        pending: Pending,
        result: Any = None,
        *,
        error: BaseException | None = None,
    ) -> None:
        with self.change:
            self.known.pop(pending.key, None)
        if pending.future.set_running_or_notify_cancel():
            finish: Callable[..., None] = pending.future.set_exception if error else pending.future.set_result
            finish(error or result)


def etag(key: tuple[str, str, int | None]) -> str:
    """Return the HTTP entity tag of an image."""
    return '"' + hashlib.sha256(repr(key).encode()).hexdigest()[:24] + '"'


def smaller(picture: np.ndarray, longest: int) -> np.ndarray:
    """Return uint8 pixels [H, W, C] resized so that the longer side has `longest` pixels."""
    image = Image.fromarray(picture.squeeze())
    scale = longest / max(image.size)
    return np.asarray(image.resize([round(side * scale) or 1 for side in image.size], Image.Resampling.LANCZOS))
