"""Sources of images to score, one image at a time: a data set, a folder, an array or the seeds of a model."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from figment.base.device import is_out_of_memory
from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import is_run
from figment.base.parse import seeds_to_z
from figment.base.pictures import list_pictures, named, relative_name
from figment.base.pixels import open_image, to_uint8
from figment.models import load
from figment.nets.base import Generator
from figment.nets.projected import KIND
from figment.pack.stores import open_store

BLOCK = 8
"""Seeds drawn in one batch; a power of two."""
DEFAULT_IMAGES = 5000
"""Default number of fakes of a model."""


class Source(ABC):
    """A sequence of named images that are read one by one."""

    name: str
    """Name in reports."""
    projected = False
    """Whether a model drew them whose discriminator looked through a head detector's features."""

    def __init__(self) -> None:
        self.damaged: list[str] = []
        """A line for each image that could not be read in the last pass."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Names of the images, in order."""

    @abstractmethod
    def read(self, name: str) -> np.ndarray:
        """Return one image, uint8 [C, H, W]; raises UnreadableImage if it is damaged."""

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and pixels of each readable image; the others are listed in `damaged`."""
        self.damaged = []
        for name in self.names:
            try:
                yield name, self.read(name)
            except UnreadableImage as error:
                self.damaged.append(str(error))

    @property
    @abstractmethod
    def digest(self) -> str:
        """16 hex digits that change with the images, computed without decoding them."""


def evenly_spread(total: int, count: int) -> list[int]:
    """Return at most `count` of the indices below `total`, evenly spread, the first and the last among them."""
    return [int(i) for i in np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))]


class StoreSource(Source):
    """The images of a zip, or of a folder of TFRecords at their largest resolution; they may differ in size."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.name, self.store = path, path.name or str(path), open_store(path)

    @property
    def names(self) -> list[str]:
        return self.store.names

    def read(self, name: str) -> np.ndarray:
        return self.store.decode(name)

    @property
    def digest(self) -> str:
        """Digest of the checksums and sizes of the images."""
        return hashlib.sha256(repr(self.store.rows()).encode()).hexdigest()[:16]


class ArraySource(Source):
    """Images in memory."""

    def __init__(
        self,
        images: np.ndarray,  # uint8 [N, C, H, W]
        name: str,
        digest: str,  # identifies the images
        chosen: list[int] | None = None,  # indices to use, in this order; None means all
    ) -> None:
        super().__init__()
        self.images, self.name, self._digest = images, name, digest
        self.chosen = list(range(len(images))) if chosen is None else chosen

    @property
    def names(self) -> list[str]:
        return [str(i) for i in self.chosen]

    def read(self, name: str) -> np.ndarray:
        image: np.ndarray = self.images[int(name)]
        return image

    @property
    def digest(self) -> str:
        return self._digest


class FolderSource(Source):
    """All images below a folder."""

    def __init__(
        self,
        path: Path,
        flag: str = "DATA",  # option or argument that messages name
    ) -> None:
        super().__init__()
        self.path, self.name = path, path.name or str(path)
        try:
            self.files = list_pictures(path, flag)
        except FigmentError as error:
            raise FigmentError(f"{error}; neither a model, a run, nor a folder of images") from None

    @property
    def names(self) -> list[str]:
        return [relative_name(file, self.path) for file in self.files]

    def read(self, name: str) -> np.ndarray:
        return to_array(open_image(named(self.path, name), keep_alpha=True))

    @property
    def digest(self) -> str:
        """Digest of the names, sizes and times of the files."""
        rows = []
        for name, file in zip(self.names, self.files, strict=True):
            try:
                state = file.stat()
            except OSError:  # a link to nothing
                rows.append((name, 0, 0))
            else:
                rows.append((name, state.st_size, state.st_mtime_ns))
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


class ModelSource(Source):
    """Images of a generator's seeds 0, 1, 2 and so on, by default without truncation.

    A seed is always drawn in the same batch (0 to 7, 8 to 15 and so on), so its image doesn't depend on `count`.
    Batches shrink only if memory runs out.
    """

    def __init__(
        self,
        g: Generator,
        count: int,  # number of seeds
        name: str = "model",
        first: int = 0,  # first seed
        psi: float = 1.0,  # truncation; 1 for none
        projected: bool = False,  # whether its discriminator looked through a head detector's features
    ) -> None:
        super().__init__()
        self.projected = projected
        self.g, self.count, self.name, self.first, self.psi = g, count, name, first, psi
        self.block = BLOCK
        self._drawn: dict[int, np.ndarray] = {}

    @property
    def names(self) -> list[str]:
        return [f"seed {seed}" for seed in range(self.first, self.first + self.count)]

    def read(self, name: str) -> np.ndarray:
        seed = int(name.split()[1])
        while seed not in self._drawn:
            try:
                self._drawn = self._draw(seed - seed % self.block)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if self.block == 1 or not is_out_of_memory(error):
                    raise
                self.block //= 2
        return self._drawn[seed]

    @torch.no_grad()
    def _draw(self, first: int) -> dict[int, np.ndarray]:
        """Return the images of one batch of seeds, uint8 [C, H, W], by seed."""
        seeds = list(range(first, first + self.block))
        z = torch.from_numpy(seeds_to_z(seeds, self.g.z_dim)).float()  # [block, Z]
        w = self.g.mapping(z.to(self.g.device), truncation_psi=self.psi)
        return dict(zip(seeds, to_uint8(self.g.synthesis(w, noise="const")).cpu().numpy(), strict=True))

    @property
    def digest(self) -> str:
        """Digest of the weights and the seeds."""
        digest = hashlib.sha256(repr((self.first, self.count, self.psi)).encode())
        for value in self.g.state_dict().values():
            digest.update(value.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()[:16]


def to_array(image: Image.Image) -> np.ndarray:
    """Return an RGB or RGBA image as uint8 [C, H, W]."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def open_source(
    path: Path,
    flag: str,  # option or argument that messages name
    *,
    count: int | None = None,  # fakes of a model; None means `DEFAULT_IMAGES`
    device: str = "cpu",  # device of a model
) -> Source:
    """Return the images in `path`: a zip, a model file, a run, or a folder of images or TFRecords.

    Raises FigmentError if it can't be read or holds no images.
    """
    if not path.exists():
        raise FigmentError(f"{flag} {path}: no such file or folder")
    if (path.suffix.lower() == ".zip" and path.is_file()) or (path.is_dir() and any(path.glob("*.tfrecords"))):
        return StoreSource(path)
    if path.is_dir() and not is_run(path):
        return FolderSource(path, flag)
    model = load(path)
    g = model.generator.to(device).eval().requires_grad_(False)
    return ModelSource(g, count or DEFAULT_IMAGES, path.name, projected=is_projected(model.config))


def is_projected(
    config: dict[str, Any],  # of a model
) -> bool:
    """Return whether a model's discriminator, in its file or not, looked through a head detector's features."""
    trained_with = config.get("discriminator")
    return isinstance(trained_with, dict) and trained_with.get("kind") == KIND
