"""What a file is by its content, whatever its ending says, and what to do with one that is no checkpoint."""

from __future__ import annotations

import codecs
import re
import struct
from pathlib import Path

HEAD_BYTES = 4096
"""What is looked at."""
MAX_HEADER_BYTES = 100_000_000
"""The longest header that the safetensors format allows."""
PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a": "RAR",
}
"""First bytes of packed files, and the programs that unpack them."""
OTHERS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x93NUMPY": "a numpy array",
    b"%PDF": "a PDF document",
    b"GGUF": "a GGUF file",
    b"SQLite format 3": "an SQLite database",
}
"""First bytes of other files, and what they are."""
AGAIN = "not a checkpoint; download the file again"
UNPACKED = (
    "one part of a .pt file that was unpacked; zip the whole folder again without compression "
    "(`zip -0 -r model.pt FOLDER`)"
)
"""What `data.pkl`, and the folder it lies in, are."""


PARTS = ("version", "byteorder")
"""Small files beside it."""


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file."""
    with open(path, "rb") as file:
        return file.read(HEAD_BYTES)


def is_safetensors(path: Path) -> bool:
    """Return whether a file is of the safetensors format: the length of a JSON header, then the header.

    A damaged file that is neither a zip, a pickle nor anything else known counts if it ends in .safetensors.
    """
    head = read_head(path)
    if head[8:10] == b'{"' and struct.unpack("<Q", head[:8])[0] <= MAX_HEADER_BYTES:
        return True
    other = head.startswith((b"PK\x03\x04", b"\x80")) or reason(head) is not None or as_text(head) is not None
    return path.suffix == ".safetensors" and not other


def is_part(path: Path) -> bool:
    """Return whether a file lies where one part of an unpacked .pt file lies: its numbers or its version."""
    folder = path.parent.parent if path.parent.name == "data" else path.parent if path.name in PARTS else None
    return folder is not None and (folder / "data.pkl").is_file()


def reason(head: bytes) -> str | None:
    """Return what a file that begins with `head` is if it can't be a checkpoint, and what to do; else None."""
    for magic, program in PACKED.items():
        if head.startswith(magic):
            return f"packed with {program}; unpack it first"
    if head[257:262] == b"ustar":
        return "packed with tar; unpack it first"
    for magic, name in OTHERS.items():
        if head.startswith(magic):
            return f"{name}, not a checkpoint"
    if head and not head.strip(b"\0"):
        return f"it begins with {len(head):,} zeros, as an unfinished download does; {AGAIN}"
    text = as_text(head)
    return _reason_of_text(text) if text is not None else None


def as_text(head: bytes) -> str | None:
    """Return the beginning of a text file without leading blanks; None for anything but text."""
    encodings = ["utf-16"] if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", "latin-1"]
    text = ""
    for encoding in encodings:
        try:  # the last character may be cut off
            text = codecs.getincrementaldecoder(encoding)().decode(head, final=len(head) < HEAD_BYTES)
            break
        except UnicodeDecodeError:
            continue
    text = text.strip()
    if not text or not all(c.isprintable() or c in "\r\n\t\f" for c in text):
        return None
    # Any byte is a character of Latin-1, but text is mostly ASCII there.
    return text if encoding != "latin-1" or sum(c.isascii() for c in text) * 2 > len(text) else None


def quoted(text: str) -> str:
    """Return the beginning of `text` for a message, in one line."""
    return repr(" ".join(text.split())[:60])


def _reason_of_text(text: str) -> str | None:
    """Return the same for a file of text. None of these beginnings starts a pickle."""
    low = text[:512].lower()
    if low.startswith("version https://git-lfs") or low.startswith("version https://hawser"):
        size = re.search(r"^size (\d{1,18})$", text, re.MULTILINE)
        of = f" of {int(size[1]):,} bytes" if size else ""
        return f"a Git LFS pointer, which stands for a file{of}; fetch that with `git lfs pull`"
    if re.match(r"(\.\./)*(\.git)?/?annex/objects/", low):
        return "a git-annex pointer, which stands for the file; fetch that with `git annex get`"
    if low.startswith("<"):
        page = re.search(r"<(!doctype html|html|head|body|title)\b", low)
        inner = re.search(r"<(title|code|message)[^>]{0,99}>([^<]{1,200})", text, re.IGNORECASE)
        says = f" ({quoted(inner[2])})" if inner else ""
        return f"{'a web page' if page else 'XML text'}{says}, {AGAIN}"
    if low.startswith(("{", "[")):
        return f"JSON text that begins with {quoted(text)}, {AGAIN}"
    return None
