"""Read a data set: the zip of `figment pack` or any zip that StyleGAN2's and StyleGAN3's tools wrote."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import need_file
from figment.base.pixels import decode_image


class ImageDataset:
    """The pictures of one zip, each uint8 [C, H, W]; damaged entries are left out and named in `damaged`."""

    def __init__(self, path: Path) -> None:
        self.path = need_file(path, "DATA")
        self.damaged: list[str] = []
        try:
            with zipfile.ZipFile(path) as archive:
                self.images = self._read(archive)    # uint8 [N, C, H, W]
        except zipfile.BadZipFile:
            raise FigmentError(f"DATA {path}: not a zip file; make one with `figment pack HEADS -o {path}`") from None

    def _read(self, archive: zipfile.ZipFile) -> np.ndarray:
        """All readable pictures of the commonest shape; the others are named in `damaged`."""
        names = sorted(name for name in archive.namelist() if name.lower().endswith((".png", ".jpg", ".jpeg")))
        if not names:
            raise FigmentError(f"DATA {self.path}: holds no pictures; make a data set with `figment pack`")
        arrays = []
        for name in names:
            try:
                image = decode_image(archive.read(name), f"{self.path}:{name}", keep_alpha=True)
            except (UnreadableImage, zipfile.BadZipFile, OSError, ValueError) as error:
                self.damaged.append(f"{name}: {error}")
                continue
            arrays.append((name, np.asarray(image).transpose(2, 0, 1)))    # [C, H, W]
        if not arrays:
            raise FigmentError(f"DATA {self.path}: none of its {len(names)} pictures could be read")
        shape = Counter(array.shape for _, array in arrays).most_common(1)[0][0]
        self.damaged += [f"{name}: {array.shape} where the others are {shape}"
                         for name, array in arrays if array.shape != shape]
        return np.stack([array for _, array in arrays if array.shape == shape])

    def __len__(self) -> int:
        return len(self.images)

    @property
    def name(self) -> str:
        """The zip's name without its suffix."""
        return self.path.stem

    @property
    def channels(self) -> int:
        return int(self.images.shape[1])

    @property
    def resolution(self) -> int:
        """The side of the square pictures; raises FigmentError where it is no power of two from 16 to 1024."""
        height, width = self.images.shape[2:]
        if height != width or height & (height - 1) or not 16 <= height <= 1024:
            raise FigmentError(f"DATA {self.path}: pictures of {width}x{height}; training wants squares of a power of "
                               "two from 16 to 1024 (`figment pack --resolution`)")
        return int(height)

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the SHA-256 of all pixels: what a run remembers its data by."""
        digest = hashlib.sha256(json.dumps(self.images.shape).encode())
        digest.update(self.images.tobytes())
        return digest.hexdigest()[:16]
