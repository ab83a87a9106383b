"""Read a data set: a zip file of `figment pack` or of the tools of StyleGAN2 and 3, or StyleGAN1's TFRecords."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.progress import say
from figment.pack.stores import Look, Store, open_store

MEMORY_SHARE = 0.5
"""Largest share of the free memory that a data set may take; larger ones stay on disk."""


class ImageDataset:
    """The images of one data set, each uint8 [C, H, W].

    All have the most common size; `damaged` has a line for each image that cannot be used. They have alpha (C = 4) if
    at least half of them have transparent parts, or if all were saved with alpha and one has transparent parts. Other
    sets have C = 3, or 1 if all are gray TFRecords, and transparent parts lie over the background. `notes` has a line
    if images had to be changed for that.

    If the data set fits in memory, all images are read at once into `held`. Otherwise `held` is None, each image is
    read when it is requested, and the next readable one replaces a damaged one.

    Raises FigmentError if `path` is not a data set or none of its images can be read.
    """

    def __init__(
        self,
        path: Path,  # a zip file, or a folder of TFRecords
        hold: bool | None = None,  # True: read all images now; False: leave them on disk; None: decide by free memory
        channels: int | None = None,  # 3 or 4: what the images must have; None: decide by the images
    ) -> None:
        self.path = path
        self._store: Store = open_store(path)
        self.damaged: list[str] = list(self._store.damaged)
        self.notes: list[str] = []
        self.held: np.ndarray | None = None  # uint8 [N, C, H, W]
        self._lock = threading.Lock()
        looks = self._look()
        self.names = list(looks)
        size = sum(look.height * look.width * look.channels for look in looks.values())
        pictures: dict[str, np.ndarray] = {}
        if hold or (hold is None and size < MEMORY_SHARE * free_memory()):
            pictures = {name: picture for name in self.names if (picture := self._decode(name)) is not None}
            looks = {name: looks[name] for name in pictures}
        else:
            self._need_one()
        count = self._decide(looks, pictures, channels)
        self._shape = (count, *self._size)
        self.names = [name for name in self.names if name in looks]
        if pictures:
            self.held = np.stack([self._fitted(name, pictures.pop(name)) for name in self.names])

    def _look(self) -> dict[str, Look]:
        """Return what the headers of the images of the most common size say; add the others to `damaged`."""
        looks: dict[str, Look] = {}
        for name in self._store.names:
            try:
                looks[name] = self._store.look(name)
            except UnreadableImage as error:
                self.damaged.append(f"{name}: {error}")
        if not looks:
            raise self._none_readable("could be read")
        self._size = Counter((look.height, look.width) for look in looks.values()).most_common(1)[0][0]
        wanted = f"{self._size[1]}x{self._size[0]}"
        for name, look in list(looks.items()):
            if (look.height, look.width) != self._size:
                self.damaged.append(f"{name}: {look.width}x{look.height} pixels, but most have {wanted}")
                del looks[name]
        return looks

    def _none_readable(self, what: str) -> FigmentError:
        reason = f" ({self.damaged[-1]})" if self.damaged else ""
        return FigmentError(f"DATA {self.path}: none of its {len(self._store.names)} pictures {what}{reason}")

    def _decode(self, name: str) -> np.ndarray | None:
        """Return an image with the channels it has; None, and a line in `damaged`, if it can't be used."""
        try:
            picture = self._store.decode(name)
        except UnreadableImage as error:
            self.damaged.append(f"{name}: {error}")
            return None
        if picture.shape[1:] == self._size:
            return picture
        self.damaged.append(f"{name}: its pixels don't have the size in its header")
        return None

    def _need_one(self) -> None:
        """Raise FigmentError if no image on disk can be read."""
        found = len(self.damaged)
        if all(self._decode(name) is None for name in self.names):
            raise self._none_readable("could be read")
        del self.damaged[found:]  # reading reports them

    def _decide(
        self,
        looks: dict[str, Look],
        pictures: dict[str, np.ndarray],  # the same images if they are in memory, else empty
        wanted: int | None,  # 3 or 4: decided already
    ) -> int:
        """Return the number of channels of all images, and add a line to `notes` if some have others."""
        if not looks:
            raise self._none_readable("could be read")
        stored = [name for name, look in looks.items() if look.channels == 4]
        if wanted in (3, 4):
            return wanted
        if not stored:
            return max(look.channels for look in looks.values())

        # If all were saved with alpha, one transparent image decides; else all of those with alpha are counted.
        transparent = 0
        for name in stored:
            picture = pictures[name] if pictures else self._decode(name)
            transparent += picture is not None and len(picture) == 4
            if transparent and len(stored) == len(looks):
                return 4
        if not transparent:
            if len(stored) == len(looks):
                self.notes.append("no picture has transparent parts, so their alpha is left out")
            return 3
        if 2 * transparent >= len(looks):
            self.notes.append(f"{len(looks) - transparent} of {len(looks)} pictures have no alpha; they are opaque")
            return 4
        self.notes.append(
            f"{transparent} of {len(looks)} pictures have transparent parts, which lie over white, since most have none"
        )
        return 3

    def _fitted(self, name: str, picture: np.ndarray) -> np.ndarray:
        """Return a decoded image with the channels of the data set."""
        return picture if picture.shape == self._shape else self._store.decode(name, self._shape[0])

    def decode(self, name: str) -> np.ndarray:
        """Read the image called `name` from disk, uint8 [C, H, W]. Raises UnreadableImage if it is damaged."""
        return self._store.decode(name, self._shape[0])

    def read(self, index: int) -> np.ndarray:
        """Return image `index`, or the next readable one, uint8 [C, H, W]. Safe to call from several threads.

        Raises FigmentError if no image can be read any longer.
        """
        if self.held is not None:
            return np.asarray(self.held[index])
        for place in range(len(self.names)):
            name = self.names[(index + place) % len(self.names)]
            try:
                picture = self.decode(name)
                if picture.shape == self._shape:
                    return picture
                wrong = "its pixels don't have the size in its header"
            except UnreadableImage as error:
                wrong = str(error)
            self._report(f"{name}: {wrong}")
        raise self._none_readable("can be read any longer")

    def _report(self, line: str) -> None:
        """Print and record the line about a damaged image, unless it is already known."""
        with self._lock:
            known = line in self.damaged
            if not known:
                self.damaged.append(line)
        if not known:
            say(f"left out: {line}")

    def take(self, indices: Iterable[int]) -> np.ndarray:
        """Return the images of `indices`, uint8 [n, C, H, W]."""
        return np.stack([self.read(index) for index in indices])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of all images, (N, C, H, W)."""
        return (len(self), *self._shape)

    @property
    def name(self) -> str:
        """Return the name of the zip file or folder, without a suffix."""
        return self.path.stem

    @property
    def channels(self) -> int:
        """Return the number of channels: 1, 3 or 4."""
        return self._shape[0]

    @property
    def resolution(self) -> int:
        """Return the side of the square images in pixels.

        Raises FigmentError if they are not square, or the side is not a power of two from 16 to 1024.
        """
        height, width = self._shape[1:]
        if height != width or height & (height - 1) or not 16 <= height <= 1024:
            raise FigmentError(
                f"DATA {self.path}: pictures of {width}x{height}; training needs squares whose side is a power "
                "of two from 16 to 1024 (`figment pack --resolution`)"
            )
        return height

    @property
    def labelled(self) -> bool:
        """Return whether the images have labels, which may be damaged."""
        try:
            return self._store.labels() is not None
        except FigmentError:
            return True

    @property
    def labels(self) -> np.ndarray | None:
        """Return the labels in the order of `names`: classes, int64 [N], or numbers, float32 [N, K]; None if unlabeled.

        Raises FigmentError if they are damaged or of mixed kinds.
        """
        found = self._store.labels()
        if found is None:
            return None
        values = [found[name] for name in self.names]
        return np.asarray(values, np.int64 if isinstance(values[0], int) else np.float32)

    @cached_property
    def digest(self) -> str:
        """Return 16 hex digits that identify the images, in the order of their names, and their labels.

        A training run stores it to recognize its data set. The names and the container don't matter.
        """
        try:
            found = self._store.labels()
            labels: Any = None if found is None else [found[name] for name in self._store.names]
        except FigmentError:
            labels = "damaged"
        return _digest({"pictures": self._store.rows(), "labels": labels})

    def is_known_as(self, digest: str) -> bool:
        """Return whether this is the data set with this digest, of this version or an older one."""
        return digest == self.digest or digest in map(_digest, self._store.older_rows())


def _digest(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def free_memory() -> int:
    """Return the free memory in bytes, or 4 GiB if the system does not report it."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30
