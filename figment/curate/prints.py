"""Fingerprints of crops: perceptual hashes, which find look-alikes fast, and a thumbnail, which tells them apart."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

from figment.base.pixels import decode_image, png_bytes

SIDE = 48
"""Side of the thumbnail."""
HASHES = ("phash", "dhash")
"""Each 64 bits, of the crop and, under the name with `_mirror`, of its mirror image."""


def fingerprint(
    image: Image.Image,    # the crop, RGB
) -> dict[str, float | str]:
    """The measures `phash`, `phash_mirror`, `dhash`, `dhash_mirror` (hex) and `thumb` (PNG in base64) of a crop."""
    shrink = Image.Resampling.BOX if image.width >= 2 * SIDE else Image.Resampling.BILINEAR
    thumb = image.resize((SIDE, SIDE), shrink)
    grey = image.convert("L").resize((2 * SIDE, 2 * SIDE), shrink)
    mirror = grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return {
        "phash": str(imagehash.phash(grey)),
        "phash_mirror": str(imagehash.phash(mirror)),
        "dhash": str(imagehash.dhash(grey)),
        "dhash_mirror": str(imagehash.dhash(mirror)),
        "thumb": base64.b64encode(png_bytes(thumb)).decode(),
    }


@dataclass(frozen=True)
class Prints:
    """The fingerprints of N crops, ready to be compared."""

    hashes: dict[str, np.ndarray]
    """`phash`, `phash_mirror`... -> uint64 [N]."""
    thumbs: np.ndarray
    """uint8 [N, SIDE, SIDE, 3]."""

    @classmethod
    def of(
        cls,
        measures: Sequence[Mapping[str, float | str]],    # what `fingerprint` gave for each crop
    ) -> Prints:
        """Read fingerprints back from the catalog's measures."""
        names = [name + side for name in HASHES for side in ("", "_mirror")]
        hashes = {name: np.array([int(str(each[name]), 16) for each in measures], np.uint64) for name in names}
        thumbs = np.zeros((len(measures), SIDE, SIDE, 3), np.uint8)
        for index, each in enumerate(measures):
            data = base64.b64decode(str(each["thumb"]))
            thumbs[index] = np.asarray(decode_image(data, f"thumbnail {index}"))
        return cls(hashes, thumbs)

    def __len__(self) -> int:
        return len(self.thumbs)
