"""Open a zip file of PNGs or a folder of TFRecords, with one interface for names, decoding and labels."""

from __future__ import annotations

import json
import mmap
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import need_file
from figment.base.pixels import decode_image
from figment.pack.labels import Label
from figment.pack.tfrecords import DamagedRecord, Place, checked, decode_picture, index_records

ENDINGS = (".png", ".jpg", ".jpeg")
"""Suffixes of the entries that are images."""
DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError, RuntimeError)
"""Exceptions that reading a damaged zip file raises."""


class Store(Protocol):
    """A container of images with names."""

    names: list[str]
    """Names of the images, in the order of the data set."""
    damaged: list[str]
    """One line for each part that cannot even be listed."""

    def decode(self, name: str) -> np.ndarray:
        """Return an image, uint8 [C, H, W]. Raises only UnreadableImage. Safe to call from several threads."""
        ...

    def rows(self) -> list[tuple[str, int, int]]:
        """Return name, checksum and size in bytes of every entry, without decoding images."""
        ...

    def labels(self) -> dict[str, Label] | None:
        """Return the label of each image by name, or None without labels. Raises FigmentError if they are damaged."""
        ...


def open_store(path: Path) -> Store:
    """Return the store of a zip file or folder. Raises FigmentError if `path` is not a data set."""
    if path.is_dir():
        return RecordStore(path)
    return ZipStore(need_file(path, "DATA"))


class ZipStore:
    """A zip file of PNGs with dataset.json, the format of StyleGAN2 and StyleGAN3."""

    def __init__(self, path: Path) -> None:
        self.path, self.damaged = path, list[str]()
        self._lock = threading.Lock()
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile:
            raise FigmentError(f"DATA {path}: not a zip file; make one with `figment pack HEADS -o {path}`") from None
        self.names = sorted(name for name in self._archive.namelist() if name.lower().endswith(ENDINGS))
        if not self.names:
            raise FigmentError(f"DATA {path}: holds no pictures; make a data set with `figment pack`")

    def _bytes(self, name: str) -> bytes:
        """Return the content of an entry. Raises UnreadableImage if it is damaged."""
        try:
            with self._lock:
                return self._archive.read(name)
        except DAMAGE as error:
            raise UnreadableImage("truncated", f"{self.path}:{name}: damaged zip entry ({error})") from None

    def decode(self, name: str) -> np.ndarray:
        """Return the image of an entry, uint8 [3, H, W], or [4, H, W] if it has alpha."""
        image = decode_image(self._bytes(name), f"{self.path}:{name}", keep_alpha=True)
        return np.asarray(image).transpose(2, 0, 1)  # [C, H, W]

    def rows(self) -> list[tuple[str, int, int]]:
        """Return name, CRC-32 and size in bytes of every entry, sorted by name."""
        return sorted((info.filename, info.CRC, info.file_size) for info in self._archive.infolist())

    def about(self) -> dict[str, Any]:
        """Return the content of dataset.json, or {} if the file is missing. Raises FigmentError if it is damaged."""
        if "dataset.json" not in self._archive.namelist():
            return {}
        try:
            about = json.loads(self._bytes("dataset.json"))
        except ValueError as error:
            raise FigmentError(f"DATA {self.path}: its dataset.json is damaged ({error})") from None
        if not isinstance(about, dict):
            raise FigmentError(f"DATA {self.path}: its dataset.json must hold an object with `labels`")
        return about

    def labels(self) -> dict[str, Label] | None:
        """Return the labels in dataset.json by image name, or None without labels."""
        pairs = self.about().get("labels")
        if not pairs:
            return None
        try:
            found = {str(name).replace("\\", "/"): label for name, label in pairs}
        except (TypeError, ValueError):
            raise FigmentError(f"DATA {self.path}: labels in dataset.json must be pairs of name and label") from None
        missing = [name for name in self.names if name not in found]
        if missing:
            raise FigmentError(
                f"DATA {self.path}: dataset.json has no label for {missing[0]} and {len(missing) - 1} others"
            )
        return {name: found[name] for name in self.names}


class RecordStore:
    """A folder of TFRecords in StyleGAN1's layout; the file of the largest resolution is memory-mapped."""

    def __init__(self, path: Path) -> None:
        self.path, self.damaged = path, list[str]()
        files = sorted(path.glob("*.tfrecords"))
        if not files:
            raise FigmentError(f"DATA {path}: a folder without .tfrecords; make a data set with `figment pack {path}`")
        self.file = files[-1]  # NAME-r02 to NAME-rNN
        places: list[Place] = []
        with self.file.open("rb") as file:
            if not self.file.stat().st_size:
                raise FigmentError(f"DATA {self.file}: the file is empty")
            try:
                for place in index_records(file, str(self.file)):
                    places.append(place)
            except DamagedRecord as error:
                self.damaged.append(f"{error} ({len(places)} records before it are read)")
            self._bytes = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if not places:
            raise FigmentError(f"DATA {self.damaged[0] if self.damaged else path}")
        self._places = {f"{number:08d}": place for number, place in enumerate(places)}
        self.names = list(self._places)

    def decode(self, name: str) -> np.ndarray:
        """Return the image of a record, uint8 [C, H, W]. Raises DamagedRecord, an UnreadableImage, if it is damaged."""
        what = f"{self.file}: record {int(name)}"
        return decode_picture(checked(self._bytes, self._places[name], what), what)

    def rows(self) -> list[tuple[str, int, int]]:
        """Return name, stored checksum and size in bytes of every record."""
        found = []
        for name, place in self._places.items():
            end = place.start + place.length
            found.append((name, int.from_bytes(self._bytes[end : end + 4], "little"), place.length))
        return found

    def labels(self) -> dict[str, Label] | None:
        """Return the rows of NAME-rxx.labels by record name, or None without labels; one-hot rows become classes."""
        files = sorted(self.path.glob("*.labels"))
        if not files:
            return None
        try:
            rows = np.load(files[0], allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise FigmentError(f"DATA {files[0]}: not a readable labels file ({error})") from None
        if rows.ndim != 2 or len(rows) < len(self.names):
            raise FigmentError(f"DATA {files[0]}: labels of shape {rows.shape} for {len(self.names)} records")
        if not rows.shape[1]:
            return None
        rows = rows[: len(self.names)]
        one_hot = bool(((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all())
        values: list[Label] = rows.argmax(1).tolist() if one_hot else rows.astype(np.float64).tolist()
        return dict(zip(self.names, values, strict=True))
