"""Write the odd formats, damaged files and copies that real collections contain."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from figment.base.files import write_bytes
from figment.base.pixels import decode_image
from figment.base.records import Box

ORIENTATION = 0x0112
"""EXIF tag of the rotation that makes an image upright."""

Boxes = tuple[Box, ...]


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return `image` as the content of a file in Pillow's format `kind`, saved with `options`."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


# ---------------------------------------------------------------------- odd but readable


def cmyk(image: Image.Image) -> bytes:
    """Return a CMYK JPEG, as used for print."""
    return encode(image.convert("CMYK"), "JPEG", quality=92)


def sixteen_bit(image: Image.Image) -> bytes:
    """Return a 16-bit gray PNG."""
    values = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return encode(Image.fromarray(values), "PNG")


def palette(image: Image.Image) -> bytes:
    """Return a palette PNG of 64 colors."""
    return encode(image.quantize(64), "PNG")


def exif_rotated(image: Image.Image) -> bytes:
    """Return a JPEG stored sideways with its EXIF orientation, as phones write it."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encode(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif)


def animated(image: Image.Image) -> bytes:
    """Return a GIF of three frames; the first one is the image."""
    frames = [image.quantize(128)] + [image.rotate(angle).quantize(128) for angle in (90, 180)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def plain(image: Image.Image) -> bytes:
    """Return a PNG, with alpha if the image has it."""
    return encode(image, "PNG")


ODD = {
    "cmyk": (cmyk, "jpg"),
    "sixteen-bit": (sixteen_bit, "png"),
    "palette": (palette, "png"),
    "exif-rotated": (exif_rotated, "jpg"),
    "animated": (animated, "gif"),
    "alpha": (plain, "png"),
}
"""Kind -> function that encodes an image, and file suffix."""


# ---------------------------------------------------------------------- damaged


def truncated(image: Image.Image) -> bytes:
    """Return the first half of a JPEG."""
    data = encode(image, "JPEG", quality=92)
    return data[: len(data) // 2]


def text(image: Image.Image) -> bytes:
    """Return an HTML error page, as a failed download leaves it."""
    return b"<html><body><h1>404 Not Found</h1></body></html>\n"


def empty(image: Image.Image) -> bytes:
    """Return no bytes, as a download that never started leaves it."""
    return b""


DAMAGED = {"truncated": (truncated, "jpg"), "text": (text, "png"), "empty": (empty, "png")}
"""Kind -> function that encodes an image, and file suffix."""


# ---------------------------------------------------------------------- copies of another file


def copy_file(
    original: Path,  # an undamaged image file
    target: Path,
    kind: str,  # a key of COPIES
    boxes: Boxes,  # the heads in the original, in pixels
    strength: float,  # 0 to 1; sets the JPEG quality or the size
) -> Boxes:
    """Write a copy of `original` and return the boxes of its heads, in pixels of the copy."""
    data = original.read_bytes()
    if kind == "copy":
        write_bytes(target, data)
        return boxes
    image = decode_image(data, str(original))
    if kind == "reencoded":
        write_bytes(target, encode(image, "JPEG", quality=round(50 + 35 * strength)))
        return boxes
    if kind == "mirrored":
        write_bytes(target, encode(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"))
        return tuple(Box(image.width - box.x1, box.y0, image.width - box.x0, box.y1) for box in boxes)
    scale = 0.55 + 0.35 * strength
    small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    write_bytes(target, encode(small, "PNG"))
    across, down = small.width / image.width, small.height / image.height
    return tuple(Box(box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down) for box in boxes)


COPIES = {"copy": None, "reencoded": "jpg", "resized": "png", "mirrored": "png"}
"""Kind -> file suffix; None keeps the suffix of the original."""
