"""Embed crops: is it a head, and what does it look like?

from figment.heads.describe import Describer
headness, embedding = Describer.load().describe([crop, other])    # [N] in 0..1, [N, 128] of length 1
float(embedding[0] @ embedding[1])                                # near 1 for the same head, also mirrored or recolored
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import to_unit
from figment.heads.network import CROP, SHIPPED, HeadNet, channels_last, fold_norms, load_net

BLOCK = 32
"""Crops in a forward pass."""


class Describer:
    """Computes the headness and the embedding of crops as `figment crop` cuts them; threads may share it."""

    def __init__(self, net: HeadNet) -> None:
        if net.portrait is None:
            raise FigmentError("detector: this network only finds boxes, it has no embedding")
        self.net = channels_last(fold_norms(net)).requires_grad_(False)
        self.portrait = net.portrait
        self.dim = net.config.embed

    @classmethod
    def load(
        cls,
        path: Path | None = None,  # file of a detector with an embedding; None means the shipped weights
    ) -> Describer:
        """Return the describer in `path`; raises FigmentError that names a file without an embedding."""
        path = path or SHIPPED
        net = load_net(path)
        if net.portrait is None:
            raise FigmentError(f"--detector {path}: only finds boxes, it has no embedding")
        return cls(net)

    @torch.no_grad()
    def describe(
        self,
        crops: Sequence[Image.Image],  # square crops around a head, of any size and mode
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the headness, float32 [N] from 0 to 1, and unit embeddings, float32 [N, dim]."""
        headness = np.empty(len(crops), np.float32)
        embedding = np.empty((len(crops), self.dim), np.float32)
        for start in range(0, len(crops), BLOCK):
            pixels = np.stack([crop_pixels(crop) for crop in crops[start : start + BLOCK]])  # [n, H, W, 3]
            logits, units = self.portrait(self.features(to_unit(torch.from_numpy(pixels).permute(0, 3, 1, 2))))
            headness[start : start + BLOCK] = logits.sigmoid().numpy()
            embedding[start : start + BLOCK] = units.numpy()
        return headness, embedding

    def features(
        self,
        images: torch.Tensor,  # [N, 3, H, W] in [-1, 1], H and W multiples of 32
    ) -> list[torch.Tensor]:
        """Return the backbone's feature maps at strides 4, 8, 16 and 32, differentiable: for perceptual distances."""
        return self.net.features(images.contiguous(memory_format=torch.channels_last))


def open_describer() -> Describer | None:
    """Return the shipped describer, for crops of any detector; tuning may have damaged a tuned one's embedding."""
    net = load_net(SHIPPED)
    return Describer(net) if net.portrait is not None else None


def crop_pixels(crop: Image.Image) -> np.ndarray:
    """Return a crop as uint8 [CROP, CROP, 3]."""
    small = crop.convert("RGB").resize((CROP, CROP), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small)
