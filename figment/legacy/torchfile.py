"""What torch.save wrote: the zip of today, the stream of before 1.6, and storages inside other pickles."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from figment.legacy.classes import BUILDERS, STORAGES, Storage
from figment.legacy.machine import MOST_OPCODES, Builder, Damaged, Name, Refused
from figment.legacy.unpickle import Interpreter

MAGIC = 0x1950A86A20F9469CFC6C
INNER_OPCODES = 2_000_000  # of all storages inside another pickle
MOST_STORAGES = 200_000


def read(path: Path) -> Any:
    """What the pickle, or the file of torch.save, at `path` holds: plain values and views of its bytes."""
    data = memoryview(path.read_bytes())
    if not len(data):
        raise Damaged("it is empty")
    if data[:4].tobytes() == b"PK\x03\x04":
        return _read_zip(data)
    builders: dict[Name, Builder] = {**BUILDERS, Name("torch.storage", "_load_from_bytes"): _Inner()}
    if struct.pack("<Q", MAGIC & (2**64 - 1)) in data[:16].tobytes():
        return _read_stream(data, builders)[0]
    return Interpreter(data, builders).load()


class _Storages:
    """The storages that persistent ids name, made when first named."""

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def __call__(self, identity: tuple[Any, ...]) -> Storage:
        """The storage of ("storage", class, key, device, count, ...)."""
        if len(identity) not in (5, 6) or identity[0] != "storage":
            raise Damaged("a persistent id that is no storage")
        kind, key, count = identity[1], identity[2], identity[4]
        if not isinstance(kind, Name) or kind.name not in STORAGES or not isinstance(key, str):
            raise Damaged("a persistent id that is no storage")
        if type(count) is not int or not 0 <= count < 2**48:
            raise Damaged("a storage of impossible size")
        if len(identity) == 6 and identity[5] is not None:
            raise Refused("it holds a storage that is a view of another, which torch no longer writes")
        if len(self.by_key) >= MOST_STORAGES:
            raise Refused("it holds more storages than a checkpoint needs")
        return self.by_key.setdefault(key, Storage(STORAGES[kind.name], count))


def _read_zip(data: memoryview) -> Any:
    """The zip that torch.save writes since 1.6: ROOT/data.pkl and ROOT/data/KEY, stored and not compressed."""
    # The list of contents; every entry must lie in the file as it is.
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError, struct.error) as error:
        raise Damaged(f"a damaged zip file ({error})") from None
    pickles = [name for name in entries if name.endswith("data.pkl") and name.count("/") <= 1]
    if len(pickles) != 1:
        raise Damaged("a zip file that torch.save did not write")
    root = pickles[0][: -len("data.pkl")]
    order = entries.get(root + "byteorder")
    if order is not None and _entry(data, order).tobytes() != b"little":
        raise Refused("it was written on a big-endian machine")

    # The pickle first, which says which storages there are; then their bytes.
    storages = _Storages()
    value = Interpreter(_entry(data, entries[pickles[0]]), BUILDERS, storages).load()
    rest = len(data)
    for key, storage in storages.by_key.items():
        name = f"{root}data/{key}"
        if name not in entries:
            raise Damaged(f"the storage {ascii(key)[:40]} is missing")
        rest -= entries[name].file_size
        if rest < 0:
            raise Damaged("its entries overlap")
        storage.data = _entry(data, entries[name])
    return value


def _entry(data: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """The bytes of a stored entry, its checksum verified, not copied."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise Refused("its entries are compressed, which torch.save never does")
    header = data[info.header_offset : info.header_offset + 30]
    if len(header) < 30 or header[:4].tobytes() != b"PK\x03\x04":
        raise Damaged("an entry of the zip file is missing")
    names = sum(struct.unpack("<HH", header[26:30]))
    start = info.header_offset + 30 + names
    entry = data[start : start + info.file_size]
    if len(entry) != info.file_size or zlib.crc32(entry) != info.CRC:
        raise Damaged(f"the entry {ascii(info.filename)[:60]} of the zip file is damaged")
    return entry


def _read_stream(
    data: memoryview,
    builders: dict[Name, Builder],
    opcodes: int = MOST_OPCODES,  # for all pickles in it
) -> tuple[Any, int]:
    """The stream that torch.save wrote before 1.6: magic, version, system, the pickle, keys, then the storages.

    Gives the value, and the opcodes not used.
    """
    storages = _Storages()
    position = 0
    values = []
    for _ in range(5):
        machine = Interpreter(data, builders, storages, position, opcodes)
        values.append(machine.load())
        position, opcodes = machine.position, machine.opcodes
    magic, version, _, value, keys = values
    if magic != MAGIC or version != 1001:
        raise Damaged("not the stream that torch.save wrote")
    if not isinstance(keys, list) or {key for key in keys if isinstance(key, str)} != storages.by_key.keys():
        raise Damaged("its list of storages does not fit its tensors")

    # Each storage: its count of numbers, then the numbers.
    for key in keys:
        storage = storages.by_key[key]
        size = 2 if storage.code == "bf16" else np.dtype(storage.code).itemsize
        head = data[position : position + 8]
        if len(head) < 8 or struct.unpack("<q", head)[0] != storage.count:
            raise Damaged("a storage is cut off")
        position += 8 + storage.count * size
        if position > len(data):
            raise Damaged("a storage is cut off")
        storage.data = data[position - storage.count * size : position]
    return value, opcodes


class _Inner:
    """Storages that another pickle holds as bytes: a stream within, read by the same interpreter, one level deep."""

    def __init__(self) -> None:
        self.opcodes = INNER_OPCODES

    def __call__(self, arguments: tuple[Any, ...]) -> Storage:
        """The storage in the bytes that are the only argument."""
        inner = arguments[0] if arguments else None
        if not isinstance(inner, bytes | memoryview):
            raise Damaged("a storage without bytes")
        storage, self.opcodes = _read_stream(memoryview(inner), BUILDERS, self.opcodes)
        if not isinstance(storage, Storage):
            raise Damaged("a storage that is none")
        return storage


def as_array(value: Any) -> np.ndarray:
    """`value` as an array of numbers, a view of the file's bytes where it can be."""
    if hasattr(value, "array"):
        array: np.ndarray = value.array()
        return array
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    raise Damaged(f"a {type(value).__name__} where an array should be")
