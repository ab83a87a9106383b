"""Read a data set: a zip file of `figment pack` or of the tools of StyleGAN2 and 3, or StyleGAN1's TFRecords."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.progress import say
from figment.pack.labels import Label
from figment.pack.stores import Store, open_store

MEMORY_SHARE = 0.5
"""Largest share of the free memory that a data set may take; larger ones stay on disk."""


class ImageDataset:
    """The images of one data set, each uint8 [C, H, W]; `damaged` has a line for each that cannot be used.

    If the data set fits in memory, all images are read at once into `held`, and damaged ones are left out. Otherwise
    `held` is None, each image is read when it is requested, and the next readable one replaces a damaged one.

    Raises FigmentError if `path` is not a data set or none of its images can be read.
    """

    def __init__(
        self,
        path: Path,  # a zip file, or a folder of TFRecords
        hold: bool | None = None,  # True: read all images now; False: leave them on disk; None: decide by free memory
    ) -> None:
        self.path = path
        self._store: Store = open_store(path)
        self.damaged: list[str] = list(self._store.damaged)
        self.names = list(self._store.names)
        self.held: np.ndarray | None = None  # uint8 [N, C, H, W]
        self._lock = threading.Lock()
        self._shape = self._first_shape()
        size = len(self.names) * int(np.prod(self._shape))
        if hold or (hold is None and size < MEMORY_SHARE * free_memory()):
            self.held = self._read_all()
            self._shape = self.held.shape[1:]

    def _first_shape(self) -> tuple[int, ...]:
        """Return the shape of the first readable image."""
        for name in self.names:
            try:
                return self._store.decode(name).shape
            except UnreadableImage:
                continue
        raise FigmentError(f"DATA {self.path}: none of its {len(self.names)} pictures could be read")

    def _read_all(self) -> np.ndarray:
        """Return all readable images of the most common shape, uint8 [N, C, H, W]; add the others to `damaged`."""
        arrays = []
        for name in self.names:
            try:
                arrays.append((name, self._store.decode(name)))
            except UnreadableImage as error:
                self.damaged.append(f"{name}: {error}")
        shape = Counter(array.shape for _, array in arrays).most_common(1)[0][0]
        self.damaged += [
            f"{name}: shape {array.shape}, but the others have {shape}"
            for name, array in arrays
            if array.shape != shape
        ]
        self.names = [name for name, array in arrays if array.shape == shape]
        return np.stack([array for _, array in arrays if array.shape == shape])

    def decode(self, name: str) -> np.ndarray:
        """Read the image called `name` from disk, uint8 [C, H, W]. Raises UnreadableImage if it is damaged."""
        return self._store.decode(name)

    def read(self, index: int) -> np.ndarray:
        """Return image `index`, or the next readable one, uint8 [C, H, W]. Safe to call from several threads.

        Raises FigmentError if no image can be read any longer.
        """
        if self.held is not None:
            return np.asarray(self.held[index])
        for place in range(len(self.names)):
            name = self.names[(index + place) % len(self.names)]
            try:
                picture = self._store.decode(name)
                if picture.shape == self._shape:
                    return picture
                wrong = f"shape {picture.shape}, but the others have {self._shape}"
            except UnreadableImage as error:
                wrong = str(error)
            self._report(f"{name}: {wrong}")
        raise FigmentError(f"DATA {self.path}: none of its {len(self.names)} pictures can be read any longer")

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
        values: list[Label] = [found[name] for name in self.names]
        try:
            if all(isinstance(value, int) for value in values):
                return np.asarray(values, np.int64)
            rows = np.asarray(values, np.float32)  # [N, K]
            if rows.ndim == 2:
                return rows
        except (ValueError, TypeError):
            pass
        raise FigmentError(f"DATA {self.path}: labels must be all whole numbers, or all rows of the same length")

    @property
    def digest(self) -> str:
        """Return the first 16 hex digits of the SHA-256 of all names, checksums and sizes.

        A training run stores it to recognize its data set.
        """
        rows = self._store.rows()
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def free_memory() -> int:
    """Return the free memory in bytes, or 4 GiB if the system does not report it."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30
