"""Reduce a picture file to its pixels: drop metadata that is too large or broken, which decoders stumble over.

Used only for files that could not be read as they are. The color profile and Exif data are returned apart.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

MOST_UNPACKED = 16 << 20
"""Largest color profile in bytes, unpacked; larger ones are ignored."""


@dataclass(frozen=True)
class Bare:
    """A picture file without metadata."""

    data: bytes
    """A file of the same format that holds the pixels only."""
    profile: bytes = b""
    """Its ICC profile, perhaps damaged; empty without one."""
    exif: bytes = b""
    """Its Exif data as a TIFF file, perhaps damaged; empty without any."""


def pixels_only(
    data: bytes,  # content of a file
    kind: str,  # as `formats.kind_of` names it
) -> Bare | None:
    """Return the file without metadata, or None for a format without any that matters or a file without pixels.

    Pixels are copied as they are, so a damaged picture stays a damaged one.
    """
    try:
        return _REDUCERS[kind](data) if kind in _REDUCERS else None
    except (struct.error, IndexError, ValueError, KeyError):
        return None


def _need(whole: bool) -> None:
    """Raise ValueError for a part of the pixels that is not whole: what is put behind it would be taken for pixels."""
    if not whole:
        raise ValueError


def _png(data: bytes) -> Bare:
    """Keep the header, palette, transparency and image data of a PNG file (W3C PNG, 3rd edition)."""
    kept, profile, exif = [data[:8]], b"", b""
    at = 8
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        body = data[at + 8 : end - 4]
        sound = end <= len(data) and zlib.crc32(kind + body) == int.from_bytes(data[end - 4 : end], "big")
        if kind in (b"IHDR", b"PLTE", b"IDAT") or (kind == b"tRNS" and sound):
            _need(end <= len(data))
            kept.append(data[at:end])
        elif kind == b"iCCP" and sound:
            packed = body.partition(b"\0")[2][1:]
            profile = _unpack(packed)
        elif kind == b"eXIf" and sound:
            exif = body
        elif kind == b"IEND":
            break
        at = end
    return Bare(b"".join(kept) + b"\0\0\0\0IEND\xaeB`\x82", profile, exif)


def _unpack(packed: bytes) -> bytes:
    """Return zlib data unpacked; nothing if it is damaged or too large."""
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(packed, MOST_UNPACKED)
    except zlib.error:
        return b""
    return b"" if stream.unconsumed_tail or not stream.eof else unpacked


_STANDALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers of JPEG without a length."""


def _jpeg(data: bytes) -> Bare:
    """Keep all segments of a JPEG file but comments and application data; of these, a whole Adobe segment stays.

    The Adobe segment names the color transform (ITU-T T.872).
    """
    kept, profile, exif = [data[:2]], dict[int, bytes](), b""
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        end = at + 2 if marker in _STANDALONE else at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        if marker == 0xDA:
            kept.append(data[at:])
            break
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or (
            marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12
        ):
            kept.append(data[at:end])
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            profile[body[12]] = body[14:]
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif or body[6:]
        at = end
    return Bare(b"".join(kept), b"".join(profile[number] for number in sorted(profile)), exif)


def _webp(data: bytes) -> Bare:
    """Keep the image chunks of a WebP file (RFC 9649), even if the file ends within metadata."""
    kept, found = list[bytes](), dict[bytes, bytes]()
    at = 12
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + length]
        if name == b"VP8X" and length >= 10:
            body = bytes([body[0] & ~0x2C]) + body[1:]  # no profile, Exif and XMP
        if name in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            _need(len(body) == length)
            kept.append(name + data[at + 4 : at + 8] + body + b"\0" * (length % 2))
        else:
            found[name] = body
        at += 8 + length + length % 2
    whole = b"WEBP" + b"".join(kept)
    exif = found.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    return Bare(b"RIFF" + len(whole).to_bytes(4, "little") + whole, found.get(b"ICCP", b""), exif)


def _gif(data: bytes) -> Bare:
    """Keep the first frame of a GIF file and its transparency; see the GIF89a specification."""
    at = 13 + (3 * (2 << (data[10] & 7)) if data[10] & 0x80 else 0)
    kept, control = data[:at], b""
    while True:
        if data[at] == 0x2C:
            start = at
            at += 10 + (3 * (2 << (data[at + 9] & 7)) if data[at + 9] & 0x80 else 0) + 1
            return Bare(kept + control + data[start : _after_blocks(data, at)] + b";")
        if data[at] != 0x21:
            at += 1  # padding between blocks
            continue
        end = _after_blocks(data, at + 2)
        if data[at + 1] == 0xF9 and data[at + 2] == 4:
            control = data[at:end]
        at = end


def _after_blocks(data: bytes, at: int) -> int:
    """Return the position after the sub-blocks of a GIF file that begin at `at`. Raises IndexError past the end."""
    while data[at]:
        at += data[at] + 1
    return at + 1


_TIFF_TAGS = frozenset(
    {
        *(256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 318, 319, 320, 322, 323, 324),
        *(325, 332, 334, 336, 337, 338, 339, 340, 341, 347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532),
        34675,
    }
)
"""Tags of TIFF 6.0 that pixels, their layout and their colors depend on; 34675 is the ICC profile."""
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes per value, by type."""
_TIFF_SHORT = frozenset({254, 255, 256, 257, 259, 262, 266, 274, 277, 278, 284, 292, 293, 317, 322, 323, 332, 334, 512})
"""Tags that hold one whole number."""


def _tiff(data: bytes) -> Bare:
    """Leave only the tags of pixels in the first directory of a TIFF or BigTIFF file, in place; drop the next ones."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    first, count_form, entry_size = (8, "Q", 20) if big else (4, "H", 12)
    offset_form = "Q" if big else "I"
    (start,) = struct.unpack_from(order + offset_form, data, first)
    (count,) = struct.unpack_from(order + count_form, data, start)
    at = start + struct.calcsize(count_form)
    entries, profile = dict[int, bytes](), b""
    for entry in (data[place : place + entry_size] for place in range(at, at + count * entry_size, entry_size)):
        tag, form, values = struct.unpack_from(order + "HH" + offset_form, entry)
        size = _TIFF_SIZES.get(form, 0) * values
        inline = entry[4 + struct.calcsize(offset_form) :]
        place = 0 if size <= len(inline) else struct.unpack(order + offset_form, inline)[0]
        sound = size > 0 and place + size <= len(data)
        if tag not in _TIFF_TAGS or tag in entries or not sound:
            continue
        if tag in _TIFF_SHORT and (values != 1 or form not in (1, 3, 4, 16)):
            continue
        if tag == 34675:
            profile = data[place : place + size] if place else b""
            continue
        entries[tag] = entry
    directory = struct.pack(order + count_form, len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    directory += struct.pack(order + offset_form, 0)
    _need(start + len(directory) <= len(data))
    return Bare(data[:start] + directory + data[start + len(directory) :], profile)


_REDUCERS: dict[str, Callable[[bytes], Bare]] = {
    "png": _png,
    "jpeg": _jpeg,
    "webp": _webp,
    "gif": _gif,
    "tiff": _tiff,
}


def orientation_in(
    exif: bytes,  # Exif data, a TIFF file
) -> int:
    """Return the orientation, 1 to 8; 1 if there is none or the directory is damaged before it."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, form, _, value = struct.unpack_from(order + "HHIH", exif, at)
            if tag == 0x0112 and form == 3:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
