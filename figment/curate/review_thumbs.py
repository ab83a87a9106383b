"""Thumbnails of crops, made once, when somebody first looks at them: heads/.thumbs/."""

from __future__ import annotations

import io
import os
from pathlib import Path

from figment.base.pixels import open_image

FOLDER = ".thumbs"
SIDE = 192


def thumbnail(
    path: Path,  # the crop
    folder: Path,  # the heads folder
    name: str,  # the crop's file as the catalog has it
) -> bytes:
    """The crop as a small WebP; from heads/.thumbs where it lies there and is as new as the crop."""
    cached = folder / FOLDER / f"{name}.webp"
    try:
        if cached.stat().st_mtime_ns >= path.stat().st_mtime_ns:
            return cached.read_bytes()
    except OSError:
        pass
    image = open_image(path)
    image.thumbnail((SIDE, SIDE), reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=82, method=2)

    # A cache can be made again, so it may do without a wait for the disk; a full or read-only one is no error.
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        temporary = cached.with_name(f".{cached.name}.{os.getpid()}.{id(buffer)}")
        temporary.write_bytes(buffer.getvalue())
        os.replace(temporary, cached)
    except OSError:
        pass
    return buffer.getvalue()
