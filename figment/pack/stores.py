"""Open a zip file of PNGs or a folder of TFRecords, with one interface for names, decoding and labels."""

from __future__ import annotations

import mmap
import re
import struct
import threading
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import numpy as np

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import DAMAGED_ZIP, need_file
from figment.base.formats import has_picture_name, is_hidden
from figment.base.pixels import decode_image
from figment.pack.about import about_name, read_labels, spellings
from figment.pack.labels import Label, one_hot_classes
from figment.pack.tfrecords import DamagedRecord, Place, checked, decode_picture, index_records

RECORDS = re.compile(r"(?P<name>.+)-r(?P<level>\d+)")
"""Name of a TFRecord file without its suffix: the data set's name and the base-2 logarithm of the resolution."""


class Look(NamedTuple):
    """What the header of an image says."""

    height: int
    width: int
    channels: int
    """Channels that the image has in figment: 1, 3 or 4; 4 also if the alpha channel turns out to be opaque."""


class Store(Protocol):
    """A container of images with names."""

    names: list[str]
    """Names of the images, in the order of the data set."""
    damaged: list[str]
    """One line for each part that cannot even be listed."""

    def look(self, name: str) -> Look:
        """Return size and channels of an image, if possible from its header. Raises only UnreadableImage."""
        ...

    def decode(self, name: str, channels: int | None = None) -> np.ndarray:
        """Return an image, uint8 [C, H, W]. Raises only UnreadableImage. Safe to call from several threads.

        With 3 `channels`, transparent parts lie over the background; with 4, images without alpha are opaque. None
        keeps what the image has; an alpha channel that is opaque everywhere counts as none.
        """
        ...

    def rows(self) -> list[tuple[int, int]]:
        """Return checksum and size in bytes of every image, in the order of `names`, without decoding images."""
        ...

    def older_rows(self) -> list[list[tuple[str, int, int]]]:
        """Return what older versions computed the digest of; any of these identifies the same data set."""
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
        except DAMAGED_ZIP:
            raise FigmentError(f"DATA {path}: not a zip file; make one with `figment pack HEADS -o {path}`") from None
        # In some encodings a backslash is the second half of a letter.
        entries = [name for name in self._archive.namelist() if any(map(has_picture_name, spellings(name)))]
        self.names = sorted(set(entries))
        if not self.names:
            raise FigmentError(f"DATA {path}: holds no pictures; make a data set with `figment pack`")
        if len(self.names) < len(entries):
            twice = next(name for name in self.names if entries.count(name) > 1)
            more = len(entries) - len(self.names)
            self.damaged.append(f"{twice}: the zip has several entries of this name ({more} in all); the last counts")

    def _bytes(self, name: str) -> bytes:
        """Return the content of an entry. Raises UnreadableImage if it is damaged."""
        try:
            with self._lock:
                return self._archive.read(name)
        except DAMAGED_ZIP as error:
            raise UnreadableImage("truncated", f"{self.path}:{name}: damaged zip entry ({error})") from None

    def look(self, name: str) -> Look:
        try:
            with self._lock, self._archive.open(name) as file:
                found = read_header(file)
        except DAMAGED_ZIP as error:
            raise UnreadableImage("truncated", f"{self.path}:{name}: damaged zip entry ({error})") from None
        if found is None:
            channels, height, width = self.decode(name).shape
            return Look(height, width, channels)
        return found

    def decode(self, name: str, channels: int | None = None) -> np.ndarray:
        image = decode_image(self._bytes(name), f"{self.path}:{name}", keep_alpha=channels != 3)
        if channels == 4:
            image = image.convert("RGBA")
        elif image.mode == "RGBA" and image.getchannel("A").getextrema()[0] == 255:
            image = image.convert("RGB")
        return np.asarray(image).transpose(2, 0, 1)  # [C, H, W]

    def rows(self) -> list[tuple[int, int]]:
        """Return CRC-32 and size in bytes of every image."""
        return [(info.CRC, info.file_size) for info in map(self._archive.getinfo, self.names)]

    def older_rows(self) -> list[list[tuple[str, int, int]]]:
        """Return name, CRC-32 and size of every entry, sorted by name; with and without folders and what macOS adds."""
        every = sorted((info.filename, info.CRC, info.file_size) for info in self._archive.infolist())
        return [every, [row for row in every if has_picture_name(row[0]) or row[0] == "dataset.json"]]

    def labels(self) -> dict[str, Label] | None:
        """Return the labels in dataset.json by image name, or None without labels."""
        name = about_name(self.path, self._archive.namelist())
        return None if name is None else read_labels(self.path, name, self._bytes(name), self.names)


PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
TURNED = (b"eXIf", b"Exif")
"""Marks of metadata that may turn an image."""


def read_header(file: IO[bytes]) -> Look | None:
    """Return what the header of a PNG or JPEG says; None for other formats and if only decoding can tell.

    Reads no pixels. EXIF data may turn an image, so their presence gives None.
    """
    start = file.read(2)
    if start == JPEG:
        return _jpeg_header(file)
    return _png_header(file) if start + file.read(6) == PNG else None


def _png_header(file: IO[bytes]) -> Look | None:
    """Return the header of a PNG after its signature; alpha is a color type of 4 or 6, or a chunk tRNS."""
    found: Look | None = None
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            return found
        if kind in TURNED or length >= 2**31:
            return None
        body = file.read(length + 4)  # and its checksum
        if kind == b"IHDR" and len(body) >= 13:
            width, height, _, color = struct.unpack(">IIBB", body[:10])
            found = Look(height, width, 4 if color & 4 else 3)
        elif kind == b"tRNS" and found is not None:
            found = found._replace(channels=4)
    return None


def _jpeg_header(file: IO[bytes]) -> Look | None:
    """Return the header of a JPEG after its first mark: the size in its frame segment (SOF0 to SOF15)."""
    while len(head := file.read(4)) == 4:
        fill, mark, length = struct.unpack(">BBH", head)
        if fill != 0xFF or mark == 0xDA or length < 2:
            return None
        body = file.read(length - 2)
        if body[:4] in TURNED:
            return None
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):  # tables and extensions
            height, width = struct.unpack(">HH", body[1:5]) if len(body) >= 5 else (0, 0)
            return Look(height, width, 3) if height and width else None
    return None


class RecordStore:
    """A folder of TFRecords in StyleGAN1's layout; the file of the largest resolution is memory-mapped."""

    def __init__(self, path: Path) -> None:
        self.path, self.damaged = path, list[str]()
        self.file, self.name = _largest_records(path)
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

    def look(self, name: str) -> Look:
        place = self._places[name]
        data = self._bytes[place.start : place.start + place.length]
        return Look(*_channels_last(decode_picture(data, f"{self.file}: record {int(name)}")))

    def decode(self, name: str, channels: int | None = None) -> np.ndarray:
        """Return the image of a record, uint8 [C, H, W]. Raises DamagedRecord, an UnreadableImage, if it is damaged."""
        what = f"{self.file}: record {int(name)}"
        picture = decode_picture(checked(self._bytes, self._places[name], what), what)
        if channels is None or channels == len(picture):
            return picture
        opaque = np.full((1, *picture.shape[1:]), 255, np.uint8)
        return np.concatenate([np.broadcast_to(picture, (3, *picture.shape[1:])), *[opaque] * (channels - 3)])

    def rows(self) -> list[tuple[int, int]]:
        """Return stored checksum and size in bytes of every record."""
        ends = [(place.start + place.length, place.length) for place in self._places.values()]
        return [(int.from_bytes(self._bytes[end : end + 4], "little"), length) for end, length in ends]

    def older_rows(self) -> list[list[tuple[str, int, int]]]:
        """Return name, stored checksum and size in bytes of every record."""
        return [[(name, *row) for name, row in zip(self.names, self.rows(), strict=True)]]

    def labels(self) -> dict[str, Label] | None:
        """Return the rows of NAME-rxx.labels by record name, or None without labels; one-hot rows become classes."""
        file = self._labels_file()
        if file is None:
            return None
        try:
            rows = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError, SyntaxError) as error:
            raise FigmentError(f"DATA {file}: not a readable labels file ({error})") from None
        # Damage may cut off records, but never adds any.
        if rows.ndim != 2 or len(rows) < len(self.names) or (len(rows) > len(self.names) and not self.damaged):
            raise FigmentError(f"DATA {file}: labels of shape {rows.shape} for {len(self.names)} records")
        if not rows.shape[1]:
            return None
        if rows.dtype.kind not in "biuf" or not np.isfinite(rows).all():
            raise FigmentError(f"DATA {file}: labels must be finite numbers")
        values: Sequence[Label] = rows[: len(self.names)].astype(np.float64).tolist()
        return dict(zip(self.names, one_hot_classes(values) or values, strict=True))

    def _labels_file(self) -> Path | None:
        """Return the file of labels, None without one. Raises FigmentError if it is unclear which one it is."""
        files = _visible(self.path.glob("*.labels"))
        own = [file for file in files if file.stem.startswith(f"{self.name}-")]
        if len(files) > 1 and len(own) != 1:
            names = ", ".join(file.name for file in files)
            raise FigmentError(f"DATA {self.path}: has several files of labels ({names}); keep one")
        deeper = _visible(self.path.rglob("*.labels"))
        if deeper and not files:
            raise FigmentError(f"DATA {deeper[0]}: labels must lie beside {self.file.name}")
        return next(iter(own or files), None)


def _channels_last(picture: np.ndarray) -> tuple[int, int, int]:
    """Return height, width and channels of an image, uint8 [C, H, W]."""
    channels, height, width = picture.shape
    return height, width, channels


def _visible(found: Iterable[Path]) -> list[Path]:
    """Return the files that are not hidden, sorted; macOS puts a hidden one beside each file on foreign disks."""
    return sorted(path for path in found if not is_hidden(path.name) and path.is_file())


def _largest_records(folder: Path) -> tuple[Path, str]:
    """Return the TFRecord file of the largest resolution and the name of the data set.

    Raises FigmentError for a folder without one, or with more than one data set.
    """
    files = _visible(folder.glob("*.tfrecords"))
    if not files:
        raise FigmentError(f"DATA {folder}: a folder without .tfrecords; make a data set with `figment pack {folder}`")
    matches = [RECORDS.fullmatch(file.stem) for file in files]
    names = [match["name"] if match else file.stem for match, file in zip(matches, files, strict=True)]
    if len(set(names)) > 1:
        raise FigmentError(
            f"DATA {folder}: holds the TFRecords of several data sets ({', '.join(sorted(set(names)))}); give each a "
            "folder of its own"
        )
    levels = [int(match["level"]) if match else 0 for match in matches]
    return files[levels.index(max(levels))], names[0]
