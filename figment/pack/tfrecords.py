"""Read and write StyleGAN1's data sets without TensorFlow: TFRecord files of tf.train.Example, one per resolution.

    figment pack heads/ -o heads-512 --format tfrecord --resolution 512

A record consists of the length of its data (uint64), the masked CRC32C of the length (uint32), the data, and the masked
CRC32C of the data (uint32), all little endian (tensorflow/core/lib/io/record_writer.h). The data is a protocol buffer,
`tf.train.Example`, with two features: `data`, the pixels [C, H, W] as bytes, and `shape`, [C, H, W] as integers.
NAME-r02.tfrecords holds images of 4x4 pixels, NAME-r09.tfrecords of 512x512; NAME-rxx.labels is a numpy file, float32
[N, K].
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from figment.base.errors import UnreadableImage

HEAD = 12
"""Bytes of a record before its data: length and checksum."""
TAIL = 4
"""Bytes of a record after its data: checksum."""
LARGEST = 1 << 30
"""Maximum length of a record's data in bytes; protocol buffers are limited to 2 GiB."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of protocol buffers."""


class DamagedRecord(UnreadableImage):
    """A record with a wrong checksum, or whose data is not an image."""

    def __init__(self, message: str) -> None:
        super().__init__("truncated", message)


# ---------------------------------------------------------------------- records


def masked_crc(data: bytes | memoryview) -> int:
    """Return the masked CRC32C of `data`: rotated right by 15 bits, plus a constant."""
    import google_crc32c

    crc: int = google_crc32c.value(bytes(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """Return `data` as one record, with lengths and checksums."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", masked_crc(length)), data, struct.pack("<I", masked_crc(data))))


@dataclass(frozen=True)
class Place:
    """Position of a record's data in its file."""

    start: int
    """Offset of the first byte."""
    length: int
    """Number of bytes."""


def index_records(
    file: BinaryIO,
    name: str,  # name of the file, for messages
) -> Iterator[Place]:
    """Yield the places of all records, without reading their data.

    Raises DamagedRecord if a length is wrong or a record is cut off, since the records after it cannot be located.
    """
    size = file.seek(0, 2)
    offset = number = 0
    while offset < size:
        file.seek(offset)
        head = file.read(HEAD)
        what = f"{name}: record {number} at byte {offset}"
        if len(head) < HEAD:
            raise DamagedRecord(f"{what} is cut off")
        length, crc = struct.unpack("<QI", head)
        if crc != masked_crc(head[:8]) or length > LARGEST:
            raise DamagedRecord(f"{what}: the checksum of its length is wrong; later records can't be found")
        if offset + HEAD + length + TAIL > size:
            raise DamagedRecord(f"{what} is cut off: it has {max(size - offset - HEAD, 0)} of {length} bytes")
        yield Place(offset + HEAD, length)
        offset += HEAD + length + TAIL
        number += 1


def checked(
    buffer: memoryview,  # content of the whole file
    place: Place,
    name: str,  # name of the record, for messages
) -> memoryview:
    """Return the data of a record. Raises DamagedRecord if its checksum is wrong."""
    data = buffer[place.start : place.start + place.length]
    end = place.start + place.length
    if struct.unpack("<I", buffer[end : end + TAIL])[0] != masked_crc(data):
        raise DamagedRecord(f"{name}: the checksum of its data is wrong")
    return data


# ---------------------------------------------------------------------- tf.train.Example


def encode_picture(picture: np.ndarray) -> bytes:
    """Return an image, uint8 [C, H, W], as a serialized Example.

    Example { Features features = 1 }, Features { map<string, Feature> feature = 1 }, Feature { oneof { BytesList = 1,
    Int64List = 3 } }, each list { repeated value = 1 } (tensorflow/core/example/feature.proto). Keys are sorted.
    """
    shape = b"".join(_varint(side) for side in picture.shape)
    features = {b"data": _field(1, _field(1, picture.tobytes())), b"shape": _field(3, _field(1, shape))}
    entries = [_field(1, _field(1, key) + _field(2, value)) for key, value in sorted(features.items())]
    return _field(1, b"".join(entries))


def decode_picture(
    data: memoryview,
    name: str,  # name of the record, for messages
) -> np.ndarray:
    """Return the image in a serialized Example, uint8 [C, H, W]. Raises DamagedRecord if it has none."""
    try:
        features = {}
        for field, entry in _fields(_only(data, 1)):
            if field == 1 and isinstance(entry, memoryview):
                features[bytes(_only(entry, 1)).decode()] = _only(entry, 2)
        pixels = _only(_only(features["data"], 1), 1)
        shape = _integers(_only(features["shape"], 3))
        return np.frombuffer(pixels, np.uint8).reshape(shape)  # [C, H, W]
    except (KeyError, IndexError, ValueError, OverflowError) as error:
        raise DamagedRecord(f"{name}: not a picture in StyleGAN's format ({error})") from None


def _varint(value: int) -> bytes:
    """Return a number as a varint: 7 bits per byte, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    """Return a length-delimited field."""
    return _varint(number << 3 | BYTES) + _varint(len(data)) + data


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the varint at offset `at`, and the offset after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of every field: integers for varints, else bytes."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _read_varint(data, at)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            length, at = _read_varint(data, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + length > len(data):
            raise ValueError("a field is cut off")
        yield tag >> 3, data[at : at + length]
        at += length


def _only(data: memoryview, number: int) -> memoryview:
    """Return the last length-delimited field with this number, which overrides earlier ones. Raises KeyError."""
    found = [value for field, value in _fields(data) if field == number and isinstance(value, memoryview)]
    if not found:
        raise KeyError(f"field {number} is missing")
    return found[-1]


def _integers(data: memoryview) -> list[int]:
    """Return the values of an Int64List, packed or not."""
    values: list[int] = []
    for _, value in _fields(data):
        if isinstance(value, int):
            values.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = _read_varint(value, at)
            values.append(number)
    return values


# ---------------------------------------------------------------------- resolutions


def levels(picture: np.ndarray) -> list[np.ndarray]:
    """Return an image, uint8 [C, R, R], and its versions of half the size down to [C, 4, 4], largest first.

    Each level is the mean over 2x2 pixels of the unrounded float32 level above, rounded half to even for the result, as
    in StyleGAN's dataset_tool.
    """
    image, found = picture.astype(np.float32), [picture]
    while image.shape[1] > 4:
        total = image[:, 0::2, 0::2] + image[:, 0::2, 1::2] + image[:, 1::2, 0::2] + image[:, 1::2, 1::2]
        image = total * np.float32(0.25)  # [C, R / 2, R / 2]
        found.append(np.rint(image).clip(0, 255).astype(np.uint8))
    return found


def original_order(count: int) -> np.ndarray:
    """Return the order in which dataset_tool writes `count` images, int64 [count]: a shuffle with seed 123."""
    order = np.arange(count)
    np.random.RandomState(123).shuffle(order)
    return order
