"""Files of torch.save: zip files, the older stream format (before PyTorch 1.6), and storages within other pickles."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from figment.legacy.classes import BUILDERS, STORAGES, Storage
from figment.legacy.content import UNPACKED
from figment.legacy.pickle_vm import MAX_OPCODES, Builder, Damaged, Name, PickleVM, Refused, printable

MAGIC = 0x1950A86A20F9469CFC6C
"""First value of the stream format."""
MAX_INNER_OPCODES = 2_000_000
"""Opcodes of all storages within one pickle, together."""
MAX_STORAGES = 200_000
MAX_UNPACKED = 64 << 20
"""Bytes that the compressed entries of a zip may have, in addition to twice the size of the file. Weights hardly
compress."""
WEIGHTS = (".pkl", ".pt", ".pth", ".ckpt", ".model", ".bin", ".safetensors")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def read(path: Path) -> Any:
    """Return the content of a pickle or a torch.save file as plain values, with arrays as views of its bytes.

    Never executes code from the file. Raises Damaged or Refused, without the path.
    """
    data = memoryview(path.read_bytes())
    if not len(data):
        raise Damaged("the file is empty")
    if data[:4].tobytes() == b"PK\x03\x04":
        return _read_zip(data)
    builders: dict[Name, Builder] = {**BUILDERS, Name("torch.storage", "_load_from_bytes"): _InnerStorages()}
    if struct.pack("<Q", MAGIC & (2**64 - 1)) in data[:16].tobytes():
        return _read_stream(data, builders)[0]
    return PickleVM(data, builders, _outside).load()


def _outside(identity: tuple[Any, ...]) -> Any:
    """Refuse a persistent id in a pickle that stands alone: its storages lie elsewhere."""
    if identity and identity[0] == "storage":
        raise Refused(UNPACKED)
    raise Refused("the pickle refers to an object outside itself; nothing was run")


class _Storages:
    """Resolve persistent ids to storages; the same key always gives the same storage."""

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def __call__(self, identity: tuple[Any, ...]) -> Storage:
        """Return the storage of ("storage", class, key, device, count[, view])."""
        if len(identity) not in (5, 6) or identity[0] != "storage":
            raise Damaged("a persistent id that is not a storage")
        kind, key, count = identity[1], identity[2], identity[4]
        if not isinstance(kind, Name) or kind.name not in STORAGES or not isinstance(key, str):
            raise Damaged("a persistent id that is not a storage")
        if type(count) is not int or not 0 <= count < 2**48:
            raise Damaged("a storage with an invalid size")
        if len(identity) == 6 and identity[5] is not None:
            raise Refused("the file holds a storage that is a view of another, which torch no longer writes")
        if len(self.by_key) >= MAX_STORAGES:
            raise Refused("the file holds more storages than a checkpoint needs")
        return self.by_key.setdefault(key, Storage(STORAGES[kind.name], count))


def _read_zip(data: memoryview) -> Any:
    """Read a zip file of torch.save: ROOT/data.pkl and ROOT/data/KEY, stored, or deflated if it was packed again."""
    # Find the entries; archivers add a folder, and those of a Mac files of their own.
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = {info.filename: info for info in archive.infolist() if not _is_clutter(info.filename)}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError, struct.error) as error:
        raise Damaged(f"a damaged zip file ({error})") from None
    pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise Damaged(_held(list(entries)))
    root = pickles[0][: -len("data.pkl")]
    if root + "constants.pkl" in entries:
        raise Refused("a TorchScript program, which figment does not run; it reads the weights (a state_dict) alone")
    packed = _Packed(data)
    order = entries.get(root + "byteorder")
    if order is not None and packed.read(order).tobytes().strip() != b"little":
        raise Refused("the file was written on a big-endian machine")

    # Run the pickle, which names the storages, then attach their bytes.
    storages = _Storages()
    value = PickleVM(packed.read(entries[pickles[0]]), BUILDERS, storages).load()
    rest = len(data)
    for key, storage in storages.by_key.items():
        name = f"{root}data/{key}"
        if name not in entries:
            raise Damaged(f"the storage {ascii(key)[:40]} is missing")
        rest -= entries[name].compress_size
        if rest < 0:
            raise Damaged("entries of the zip file overlap")
        storage.data = packed.read(entries[name])
    return value


def _is_clutter(name: str) -> bool:
    """Return whether an entry of a zip is a folder or what a Mac adds."""
    last = name.rpartition("/")[2]
    return not last or last == ".DS_Store" or last.startswith("._") or name.startswith("__MACOSX/")


def _held(names: list[str]) -> str:
    """Return what a zip file is that torch.save did not write, and what to do."""
    weights = [name for name in names if name.lower().endswith(WEIGHTS)]
    if weights and len([name for name in names if name.endswith("data.pkl")]) <= 1:
        return f"a zip file that holds {shown(weights)}; unpack it first and open what was inside"
    if any(name.lower().endswith(PICTURES) for name in names):
        return "a zip file of pictures, so a data set and not a checkpoint"
    return f"a zip file that is not from torch.save; it holds {shown(names)}"


def shown(names: list[str]) -> str:
    """Return the first names for a message."""
    first = ", ".join(printable(name)[:60] for name in names[:3]) or "nothing"
    return first if len(names) <= 3 else f"{first} and {len(names) - 3} more"


class _Packed:
    """Entries of a zip file, checked; what is deflated is unpacked within a budget."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.budget = 2 * len(data) + MAX_UNPACKED

    def read(self, info: zipfile.ZipInfo) -> memoryview:
        """Return the bytes of an entry, without copying them if it is stored, after checking the checksum."""
        name = ascii(info.filename)[:60]
        if info.flag_bits & 1:
            raise Refused("entries of the zip file are encrypted; unpack it first and store them without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refused("entries of the zip file are compressed in an unusual way; store them (`zip -0`)")
        header = self.data[info.header_offset : info.header_offset + 30]
        if len(header) < 30 or header[:4].tobytes() != b"PK\x03\x04":
            raise Damaged("an entry of the zip file is missing")
        start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
        entry = self.data[start : start + info.compress_size]
        if info.compress_type == zipfile.ZIP_DEFLATED:
            self.budget -= info.file_size
            if self.budget < 0:
                raise Refused("the zip file unpacks to far more than its size; store its entries (`zip -0`)")
            try:
                entry = memoryview(zlib.decompressobj(-zlib.MAX_WBITS).decompress(entry, max(info.file_size, 1)))
            except zlib.error:
                raise Damaged(f"the entry {name} of the zip file is damaged") from None
        if len(entry) != info.file_size or zlib.crc32(entry) != info.CRC:
            raise Damaged(f"the entry {name} of the zip file is damaged")
        return entry


def _read_stream(
    data: memoryview,
    builders: dict[Name, Builder],
    opcodes: int = MAX_OPCODES,  # budget for all its pickles
) -> tuple[Any, int]:
    """Read the older stream format: five pickles (magic, version, system, value, storage keys), then the storages.

    Returns the value and the opcodes that are left.
    """
    storages = _Storages()
    position = 0
    values = []
    for _ in range(5):
        machine = PickleVM(data, builders, storages, position, opcodes)
        values.append(machine.load())
        position, opcodes = machine.position, machine.opcodes
    magic, version, _, value, keys = values
    if magic != MAGIC or version != 1001:
        raise Damaged("not a file of torch.save")
    if not isinstance(keys, list) or {key for key in keys if isinstance(key, str)} != storages.by_key.keys():
        raise Damaged("the list of storages does not match the tensors")

    # Each storage is its count as int64, followed by its numbers.
    for key in keys:
        storage = storages.by_key[key]
        size = storage.count * storage.itemsize
        head = data[position : position + 8]
        if len(head) < 8 or struct.unpack("<q", head)[0] != storage.count:
            raise Damaged("a storage is cut off")
        position += 8 + size
        if position > len(data):
            raise Damaged("a storage is cut off")
        storage.data = data[position - size : position]
    return value, opcodes


class _InnerStorages:
    """Read storages that another pickle holds as bytes in the stream format, without further nesting."""

    def __init__(self) -> None:
        self.opcodes = MAX_INNER_OPCODES

    def __call__(self, arguments: tuple[Any, ...]) -> Storage:
        """Return the storage that the only argument, bytes of an older stream, holds."""
        inner = arguments[0] if arguments else None
        if not isinstance(inner, bytes | memoryview):
            raise Damaged("a storage without bytes")
        storage, self.opcodes = _read_stream(memoryview(inner), BUILDERS, self.opcodes)
        if not isinstance(storage, Storage):
            raise Damaged("an invalid storage")
        return storage


def as_array(value: Any) -> np.ndarray:
    """Return a stored tensor, array or number as a numpy array, if possible as a view of the file."""
    if hasattr(value, "array"):
        array: np.ndarray = value.array()
        return array
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    raise Damaged(f"a {type(value).__name__} instead of an array")
