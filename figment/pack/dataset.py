"""Read a data set: a zip of `figment pack` or of StyleGAN2's and StyleGAN3's tools, or StyleGAN1's TFRecords."""

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
"""Most of the free memory that a data set may take; a larger one stays on the disk."""


class ImageDataset:
    """The pictures of one data set, each uint8 [C, H, W]; damaged ones are left out and named in `damaged`.

    A data set that fits into the memory is read at once and lies in `held`. Of a larger one `held` is None: pictures
    are read when they are asked for, and a damaged one, named once, is replaced by its neighbour.
    """

    def __init__(
        self,
        path: Path,  # a zip, or a folder of TFRecords
        hold: bool | None = None,  # True: read it all; False: leave it on the disk; None: as the memory allows
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
        """The shape of the first readable picture."""
        for name in self.names:
            try:
                return self._store.decode(name).shape
            except UnreadableImage:
                continue
        raise FigmentError(f"DATA {self.path}: none of its {len(self.names)} pictures could be read")

    def _read_all(self) -> np.ndarray:
        """All readable pictures of the commonest shape; the others are named in `damaged`."""
        arrays = []
        for name in self.names:
            try:
                arrays.append((name, self._store.decode(name)))
            except UnreadableImage as error:
                self.damaged.append(f"{name}: {error}")
        shape = Counter(array.shape for _, array in arrays).most_common(1)[0][0]
        self.damaged += [
            f"{name}: {array.shape} where the others are {shape}" for name, array in arrays if array.shape != shape
        ]
        self.names = [name for name, array in arrays if array.shape == shape]
        return np.stack([array for _, array in arrays if array.shape == shape])

    def decode(self, name: str) -> np.ndarray:
        """The picture called `name`, uint8 [C, H, W], from the disk; raises UnreadableImage where it is damaged."""
        return self._store.decode(name)

    def read(self, index: int) -> np.ndarray:
        """Picture `index`, uint8 [C, H, W], or the next one that can be read; safe to call from many threads."""
        if self.held is not None:
            return np.asarray(self.held[index])
        for place in range(len(self.names)):
            name = self.names[(index + place) % len(self.names)]
            try:
                picture = self._store.decode(name)
                if picture.shape == self._shape:
                    return picture
                wrong = f"{picture.shape} where the others are {self._shape}"
            except UnreadableImage as error:
                wrong = str(error)
            self._tell(f"{name}: {wrong}")
        raise FigmentError(f"DATA {self.path}: none of its {len(self.names)} pictures can be read any more")

    def _tell(self, line: str) -> None:
        """Name a damaged picture, once."""
        with self._lock:
            known = line in self.damaged
            if not known:
                self.damaged.append(line)
        if not known:
            say(f"left out: {line}")

    def take(self, indices: Iterable[int]) -> np.ndarray:
        """Some pictures, uint8 [n, C, H, W]."""
        return np.stack([self.read(index) for index in indices])

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self), *self._shape)

    @property
    def name(self) -> str:
        """The zip's name without its suffix, or the folder's."""
        return self.path.stem

    @property
    def channels(self) -> int:
        return self._shape[0]

    @property
    def resolution(self) -> int:
        """The side of the square pictures; raises FigmentError where it is no power of two from 16 to 1024."""
        height, width = self._shape[1:]
        if height != width or height & (height - 1) or not 16 <= height <= 1024:
            raise FigmentError(
                f"DATA {self.path}: pictures of {width}x{height}; training wants squares of a power of "
                "two from 16 to 1024 (`figment pack --resolution`)"
            )
        return height

    @property
    def labelled(self) -> bool:
        """Whether the pictures have labels."""
        try:
            return self._store.labels() is not None
        except FigmentError:
            return True

    @property
    def labels(self) -> np.ndarray | None:
        """Of each picture in `names`: its class, int64 [N], or numbers, float32 [N, K]; None where there are none."""
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
        raise FigmentError(f"DATA {self.path}: labels must all be whole numbers, or rows of equally many numbers")

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the SHA-256 of all names and checksums: what a run remembers its data by."""
        rows = self._store.rows()
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def free_memory() -> int:
    """Bytes of memory that are free now, as far as the system tells."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 << 30
