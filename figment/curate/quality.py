"""How good a crop is: the size of its head before any scaling, what it resolves, sharpness, JPEG, contrast, light."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from figment.base.records import Head
from figment.curate.damage import blocking, resolved_share
from figment.curate.edges import cut_share

SIDE = 128
"""Sharpness is measured at this side, so that a large soft head, which scales down to a sharp one, is no loss."""


def measure_quality(
    image: Image.Image,  # the crop, RGB
    head: Head,  # where it came from
    width: int | None = None,  # of its picture, in pixels; None: unknown
    height: int | None = None,
) -> dict[str, float]:
    """The measures `size`, `true_size`, `sharpness`, `blocking`, `contrast`, `brightness` and `cut` of a crop."""
    small = image if image.width <= SIDE else image.resize((SIDE, SIDE), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), np.float32)
    low, high = np.percentile(grey, [2, 98])
    size = float(max(head.box.width, head.box.height))

    # JPEG's blocks and missing frequencies show in the picture's own pixels alone: a crop that was scaled down to be
    # saved has lost the blocks, and what it resolves at its own size it resolved in its picture at least.
    whole = np.asarray(image.convert("L"), np.float32)
    side = head.crop[2] - head.crop[0]
    scale = image.width / side if side > 0 else 1.0
    unscaled = image.width == side
    return {
        "size": round(size, 1),
        "true_size": round(size * scale * resolved_share(whole), 1),
        "sharpness": round(sharpness(grey), 4),
        "blocking": round(blocking(whole, head.crop[:2]), 3) if unscaled else 0.0,
        "contrast": round(float(high - low), 1),
        "brightness": round(float(high), 1),
        "cut": cut_share(head, width, height),
    }


def sharpness(
    grey: np.ndarray,  # float [H, W] in 0..255
) -> float:
    """How much of the picture's edges a further blur takes away: 0.6 to 0.9 for clean art, below 0.2 when blurred.

    The idea of Crete et al. 2007, "The blur effect: perception and estimation with a new no-reference perceptual
    blur metric": blurring changes a sharp picture much and a blurred one little. Here it is the share of squared
    differences between neighbouring pixels that is lost, which the strongest edges decide alone; large areas of one
    colour, of which cartoons are made, count for nothing. A crop without any edge has sharpness 0.
    """
    blurred = gaussian_filter(grey, 1.0, mode="nearest")
    before, after = _edge_energy(grey), _edge_energy(blurred)
    return 1 - after / before if before > 1 else 0.0


def _edge_energy(grey: np.ndarray) -> float:
    """The mean of squared differences between neighbours, across and down."""
    return float(np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean())
