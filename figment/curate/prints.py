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

SIDE = 48
"""Side of the thumbnail."""
HASHES = ("phash", "dhash", "vhash")
"""Each 64 bits, of the crop and, under the name with `_mirror`, of its mirror image; `vhash` is blind to hue."""
ON_DISK = 5_000
"""Thumbnails of more crops than this lie in a temporary file instead of in memory."""


def fingerprint(
    image: Image.Image,    # the crop, RGB
) -> dict[str, float | str]:
    """The measures `phash`, `dhash`, `vhash`, each with its `_mirror` (hex), and `thumb` (PNG in base64) of a crop.

    The first two are of the grey picture, `vhash` is the first of the largest channel, which no turn of hue changes.
    """
    shrink = Image.Resampling.BOX if image.width >= 2 * SIDE else Image.Resampling.BILINEAR
    thumb = image.resize((SIDE, SIDE), shrink)
    grey = image.convert("L").resize((2 * SIDE, 2 * SIDE), shrink)
    value = Image.fromarray(np.asarray(image.resize((2 * SIDE, 2 * SIDE), shrink)).max(-1))
    mirror, value_mirror = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (grey, value))
    return {
        "phash": str(imagehash.phash(grey)),
        "phash_mirror": str(imagehash.phash(mirror)),
        "dhash": str(imagehash.dhash(grey)),
        "dhash_mirror": str(imagehash.dhash(mirror)),
        "vhash": str(imagehash.phash(value)),
        "vhash_mirror": str(imagehash.phash(value_mirror)),
        "thumb": base64.b64encode(png_bytes(thumb)).decode(),
    }


@dataclass(frozen=True)
class Prints:
    """The fingerprints of N crops, ready to be compared."""

    hashes: dict[str, np.ndarray]
    """`phash`, `phash_mirror`... -> uint64 [N]."""
    thumbs: np.ndarray
    """uint8 [N, SIDE, SIDE, 3], in memory or in a temporary file."""
    units: np.ndarray | None = None
    """Embeddings, float32 [N, D] of unit length, zeros where a crop has none; None: no crop has one."""

    @classmethod
    def of(
        cls,
        measures: Iterable[Mapping[str, float | str]],    # what `fingerprint` gave for each crop
        count: int | None = None,                         # how many there are; None asks `measures`
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
            with tempfile.TemporaryFile() as file:    # without a name; it goes with the last view of it
                thumbs = np.memmap(file, np.uint8, "w+", shape=shape)
        units: np.ndarray | None = None
        for index, each in enumerate(measures):
            for name in names:
                hashes[name][index] = int(str(each[name]), 16)
            thumbs[index] = np.asarray(decode_image(base64.b64decode(str(each["thumb"])), f"thumbnail {index}"))
            unit = read_unit(each.get("embedding"))
            if unit is not None and (units is None or units.shape[1] == len(unit)):
                units = np.zeros((count, len(unit)), np.float32) if units is None else units
                units[index] = unit
        return cls(hashes, thumbs, units)

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
