"""What a real collection holds beside good pictures: odd formats, damaged files, copies. Each writes one file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from figment.base.files import write_bytes
from figment.base.records import Box

ORIENTATION = 0x0112
"""The EXIF tag that says how to turn a picture upright."""

Boxes = tuple[Box, ...]


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """`image` as the bytes of a file of format `kind`."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


# ---------------------------------------------------------------------- odd but readable


def cmyk(image: Image.Image) -> bytes:
    """A JPEG for print."""
    return encode(image.convert("CMYK"), "JPEG", quality=92)


def sixteen_bit(image: Image.Image) -> bytes:
    """A grey PNG of 16 bits."""
    values = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return encode(Image.fromarray(values), "PNG")


def palette(image: Image.Image) -> bytes:
    """A PNG of 64 colours."""
    return encode(image.quantize(64), "PNG")


def exif_rotated(image: Image.Image) -> bytes:
    """A JPEG that lies on its side and says so, as phones write them."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encode(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif)


def animated(image: Image.Image) -> bytes:
    """A GIF of three frames; the first is the picture."""
    frames = [image.quantize(128)] + [image.rotate(angle).quantize(128) for angle in (90, 180)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def plain(image: Image.Image) -> bytes:
    """A PNG as it is, alpha included."""
    return encode(image, "PNG")


ODD = {
    "cmyk": (cmyk, "jpg"),
    "sixteen-bit": (sixteen_bit, "png"),
    "palette": (palette, "png"),
    "exif-rotated": (exif_rotated, "jpg"),
    "animated": (animated, "gif"),
    "alpha": (plain, "png"),
}
"""Kind -> how to write it, and its suffix."""


# ---------------------------------------------------------------------- damaged


def truncated(image: Image.Image) -> bytes:
    """A JPEG whose second half never arrived."""
    data = encode(image, "JPEG", quality=92)
    return data[: len(data) // 2]


def text(image: Image.Image) -> bytes:
    """A web server's answer, saved under a picture's name."""
    return b"<html><body><h1>404 Not Found</h1></body></html>\n"


def empty(image: Image.Image) -> bytes:
    """A download that never began."""
    return b""


DAMAGED = {"truncated": (truncated, "jpg"), "text": (text, "png"), "empty": (empty, "png")}
"""Kind -> how to write it, and its suffix."""


# ---------------------------------------------------------------------- copies of another file


def copy_file(original: Path, target: Path, kind: str, boxes: Boxes, strength: float) -> Boxes:
    """Write a copy of `original`; returns where its heads are now. `strength` is 0 to 1, for sizes and qualities."""
    data = original.read_bytes()
    if kind == "copy":
        write_bytes(target, data)
        return boxes
    image = Image.open(io.BytesIO(data)).convert("RGB")
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
"""Kind -> suffix; an exact copy keeps its original's."""
