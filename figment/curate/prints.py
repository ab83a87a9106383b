"""Fingerprints of crops: perceptual hashes, which find look-alikes fast, and a thumbnail, which tells them apart."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

from figment.base.pixels import decode_image, png_bytes
from figment.base.records import Head

SIDE = 48
"""Side of the thumbnail."""
HASHES = ("phash", "dhash", "vhash", "bhash")
"""Each 64 bits and, under the name with `_mirror`, of the mirror image; `vhash` is blind to hue, `bhash` to margins."""
ON_DISK = 5_000
"""Thumbnails of more crops than this lie in a temporary file instead of in memory."""


def fingerprint(
    image: Image.Image,  # the crop, RGB
    head: Head | None = None,  # where its head lies; None: it fills the crop
) -> dict[str, float | str]:
    """The measures `phash`, `dhash`, `vhash`, `bhash`, each with its `_mirror` (hex), and `thumb` (PNG in base64).

    The first two are of the grey crop. `vhash` is like the first, of the largest channel, which no turn of hue
    changes; `bhash` is of the head's box alone, which stays when a picture's border shifts the crop. `place` says
    where in the crop that box lies.
    """
    shrink = Image.Resampling.BOX if image.width >= 2 * SIDE else Image.Resampling.BILINEAR
    thumb = image.resize((SIDE, SIDE), shrink)
    grey = image.convert("L").resize((2 * SIDE, 2 * SIDE), shrink)
    value = Image.fromarray(np.asarray(image.resize((2 * SIDE, 2 * SIDE), shrink)).max(-1))
    mirror, value_mirror = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (grey, value))
    box = _head_part(image, head).convert("L").resize((2 * SIDE, 2 * SIDE), Image.Resampling.BILINEAR)
    box_mirror = box.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return {
        "phash": str(imagehash.phash(grey)),
        "phash_mirror": str(imagehash.phash(mirror)),
        "dhash": str(imagehash.dhash(grey)),
        "dhash_mirror": str(imagehash.dhash(mirror)),
        "vhash": str(imagehash.phash(value)),
        "vhash_mirror": str(imagehash.phash(value_mirror)),
        "bhash": str(imagehash.phash(box)),
        "bhash_mirror": str(imagehash.phash(box_mirror)),
        "place": _place(head),
        "thumb": base64.b64encode(png_bytes(thumb)).decode(),
    }


def _place(head: Head | None) -> str:
    """The head's size and middle in its crop, in half sides of it, as "size x y"; it fills the crop where unknown."""
    half = (head.crop[2] - head.crop[0]) / 2 if head else 0.0
    if head is None or half <= 0 or max(head.box.width, head.box.height) <= 0:
        return "1 0 0"
    middle = (head.box.x0 + head.box.x1) / 2, (head.box.y0 + head.box.y1) / 2
    x, y = ((at - start) / half - 1 for at, start in zip(middle, head.crop[:2], strict=True))
    return f"{max(head.box.width, head.box.height) / 2 / half:.4f} {x:.4f} {y:.4f}"


def _head_part(image: Image.Image, head: Head | None) -> Image.Image:
    """The part of a crop that the head's box takes up; all of it where that is unknown or nothing."""
    side = head.crop[2] - head.crop[0] if head else 0
    if head is None or side <= 0:
        return image
    scale = image.width / side
    x0, y0 = (max(0, round((low - start) * scale)) for low, start in zip(head.box[:2], head.crop[:2], strict=True))
    x1, y1 = (
        min(image.width, round((high - start) * scale)) for high, start in zip(head.box[2:], head.crop[:2], strict=True)
    )
    return image.crop((x0, y0, x1, y1)) if x1 - x0 >= 8 and y1 - y0 >= 8 else image


@dataclass(frozen=True)
class Prints:
    """The fingerprints of N crops, ready to be compared."""

    hashes: dict[str, np.ndarray]
    """`phash`, `phash_mirror`... -> uint64 [N]."""
    thumbs: np.ndarray
    """uint8 [N, SIDE, SIDE, 3], in memory or in a temporary file."""
    places: np.ndarray
    """float32 [N, 3]: the size of each head and its middle in its crop, x and y, in half sides."""
    units: np.ndarray | None = None
    """Embeddings, float32 [N, D] of unit length, zeros where a crop has none; None: no crop has one."""

    @classmethod
    def of(
        cls,
        measures: Iterable[Mapping[str, float | str]],  # what `fingerprint` gave for each crop
        count: int | None = None,  # how many there are; None asks `measures`
    ) -> Prints:
        """Read fingerprints back from the catalog's measures, one at a time."""
        if count is None:
            measures = list(measures)
            count = len(measures)
        names = [name + side for name in HASHES for side in ("", "_mirror")]
        hashes = {name: np.zeros(count, np.uint64) for name in names}
        shape = (count, SIDE, SIDE, 3)
        thumbs = np.zeros(shape, np.uint8)
        if count > ON_DISK:
            with tempfile.TemporaryFile() as file:  # without a name; it goes with the last view of it
                thumbs = np.memmap(file, np.uint8, "w+", shape=shape)
        places = np.zeros((count, 3), np.float32)
        units: np.ndarray | None = None
        for index, each in enumerate(measures):
            for name in names:
                hashes[name][index] = int(str(each[name]), 16)
            thumbs[index] = np.asarray(decode_image(base64.b64decode(str(each["thumb"])), f"thumbnail {index}"))
            places[index] = [float(number) for number in str(each["place"]).split()]
            unit = read_unit(each.get("embedding"))
            if unit is not None and (units is None or units.shape[1] == len(unit)):
                units = np.zeros((count, len(unit)), np.float32) if units is None else units
                units[index] = unit
        return cls(hashes, thumbs, places, units)

    def __len__(self) -> int:
        return len(self.thumbs)


def read_unit(text: float | str | None) -> np.ndarray | None:
    """The embedding in a measure's hex text, float32 [D] of unit length; None where there is none or it is damaged."""
    try:
        unit = np.frombuffer(bytes.fromhex(str(text)), "<f2").astype(np.float32)
    except ValueError:
        return None
    length = float(np.linalg.norm(unit)) if len(unit) else 0.0
    return unit / length if 0 < length < np.inf else None
