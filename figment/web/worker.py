"""The one thread that draws: requests wait in a bounded queue, are drawn in batches and remembered by recipe.

    worker = Worker()
    worker.show(Scene(g, composer, digest))
    png = worker.ask(parse_recipe("17@0.7")).future.result()

The same request asked twice at a time is drawn once; one that nobody waits for any more is not drawn. Films ask for
their frames through the same queue and give way to pictures.
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
from figment.base.pixels import resize_square
from figment.draw.render import draw_pictures, picture_png
from figment.nets.base import Generator
from figment.web.compose import Composer
from figment.web.recipe import Recipe

QUEUE = 600
"""Pictures that may wait; more are refused."""
BATCH = 16
"""Most pictures that are drawn at a time."""
FILM_SHARE = 4
"""Of a batch's places, one in so many is a film's where one waits."""
CACHE_BYTES = 32 << 20
SIZES = (96, 128, 256, 384, 512)
"""Widths that a picture may be asked for beside its own, where they are smaller."""


class Busy(Exception):
    """Too much is waiting already."""


@dataclass(frozen=True)
class Scene:
    """The generator that is shown."""

    g: Generator
    composer: Composer
    digest: str
    """Of the model's file."""


@dataclass
class Pending:
    """A picture somebody waits for."""

    key: Hashable
    scene: Scene
    recipe: Recipe | None = None
    size: int | None = None
    w: Tensor | None = None
    """[L, D] of a film's frame, where there is no recipe."""
    waiting: int = 1
    future: Future[Any] = field(default_factory=Future)


class PictureCache:
    """The pictures that were asked for last, up to a number of bytes."""

    def __init__(
        self,
        limit: int = CACHE_BYTES,
    ) -> None:
        self.limit, self.bytes = limit, 0
        self.items: OrderedDict[Hashable, bytes] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """The picture of `key`, None where it is not remembered."""
        with self.lock:
            if key in self.items:
                self.items.move_to_end(key)
            return self.items.get(key)

    def put(self, key: Hashable, data: bytes) -> None:
        """Remember `data`, and forget the oldest beyond the limit."""
        with self.lock:
            self.bytes += len(data) - len(self.items.pop(key, b""))
            self.items[key] = data
            while self.bytes > self.limit:
                self.bytes -= len(self.items.popitem(last=False)[1])


class Worker:
    """Draws what is asked for, on one thread; PNGs are packed on two more."""

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
        """Draw with another generator from now on."""
        self.scene = scene

    def need_scene(self) -> Scene:
        """The generator that is shown; raises FigmentError where a run has none yet."""
        if self.scene is None:
            raise FigmentError("this run has not written a model yet; its first tick does")
        return self.scene

    # ------------------------------------------------------------------ asking

    def key(self, recipe: Recipe, size: int | None = None) -> tuple[str, str, int | None]:
        """What a picture is remembered by."""
        scene = self.need_scene()
        return (scene.digest, str(recipe), size if size in SIZES and size < scene.g.resolution else None)

    def ask(self, recipe: Recipe, size: int | None = None) -> Pending:
        """Put a picture on the queue, or join those who wait for it; the future gives its PNG. Raises Busy."""
        key, scene = self.key(recipe, size), self.need_scene()
        with self.change:
            if key in self.known:
                self.known[key].waiting += 1
                return self.known[key]
            return self._enqueue(Pending(key, scene, recipe, key[2]), self.pictures)

    def ask_frame(self, scene: Scene, w: Tensor) -> Pending:
        """Put a film's frame on the queue; the future gives uint8 [H, W, C]. Raises Busy."""
        with self.change:
            pending = Pending(object(), scene, w=w)
            return self._enqueue(pending, self.frames)

    def release(self, pending: Pending) -> None:
        """One waits no longer; what nobody waits for is taken off the queue."""
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
        """Finish the batch at hand and stop; what still waits is told so."""
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
        """The next batch of one generator; waits for the first. Empty when the worker is closed."""
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
        """Draw `batch` and hand the pictures on; what can't be drawn is told to whoever waits for it."""
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
        """A picture's PNG, remembered and handed on."""
        try:
            if pending.size:
                picture = np.asarray(resize_square(Image.fromarray(picture.squeeze()), pending.size))
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
    """A picture's entity tag."""
    return '"' + hashlib.sha256(repr(key).encode()).hexdigest()[:24] + '"'
