"""Feature networks: the interface, and clean resizing of their input.

figment score runs/00003-heads heads-64.zip
figment score runs/00003-heads heads-64.zip --features inception
figment score runs/00003-heads heads-64.zip --features inception=/models/inception-2015-12-05.pt
figment score runs/00003-heads heads-64.zip --features clip.onnx:image_embeds:imagenet
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from figment.base.device import is_out_of_memory
from figment.base.pixels import BACKGROUND


class FeatureNetwork(ABC):
    """Turns images into feature vectors; the features of an image don't depend on the others in its batch.

    Kernels round differently for other batch sizes, so images always pass in blocks of exactly `block`, the last one
    padded, through deterministic convolutions in full precision. Only if memory runs out, the block shrinks, and
    features may change in their last digits.
    """

    name: str
    """Name in caches and reports."""
    label: str
    """Suffix of FD- and KD-; empty for the standard Inception network, whose scores are FID and KID."""
    size: int
    """Side of its input in pixels."""
    dim: int
    """Length of a feature vector."""
    scale: float
    """Usual magnitude of a feature, a power of two."""
    block: int = 8
    """Images in a forward pass; more on a GPU."""

    @property
    def labels(self) -> tuple[str, str]:
        """Names of the Frechet and the kernel distance with these features."""
        return (f"FD-{self.label}", f"KD-{self.label}") if self.label else ("FID", "KID")

    def __call__(self, images: list[np.ndarray]) -> np.ndarray:
        """Return the features, float32 [N, D], of images uint8 [C, H, W] of any size with 1, 3 or 4 channels."""
        found = []
        start = 0
        while start < len(images):
            part = images[start : start + self.block]
            pixels = np.zeros((self.block, 3, self.size, self.size), np.float32)
            pixels[: len(part)] = [resize_clean(image, self.size) for image in part]
            try:
                with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
                    found.append(self.compute(torch.from_numpy(pixels))[: len(part)])
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if self.block == 1 or not is_out_of_memory(error):
                    raise
                self.block //= 2
                continue
            start += len(part)
        return np.concatenate(found) if found else np.zeros((0, self.dim), np.float32)

    @abstractmethod
    def compute(self, pixels: Tensor) -> np.ndarray:
        """Return the features, float32 [N, D], of float32 [N, 3, size, size] in 0..255."""


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Return an image uint8 [C, H, W] of 1, 3 or 4 channels as uint8 [3, H, W], transparent parts over the background.

    Raises ValueError for other shapes and types.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or len(image) not in (1, 3, 4):
        raise ValueError(f"an image must be uint8 [1, 3 or 4, H, W], not {image.dtype} {image.shape}")
    if len(image) == 4:
        share = image[3:].astype(np.float32) / 255
        ground = np.array(BACKGROUND, np.float32)[:, None, None]
        return np.rint(image[:3] * share + ground * (1 - share)).astype(np.uint8)
    return np.broadcast_to(image, (3, *image.shape[1:]))


def resize_clean(
    image: np.ndarray,  # uint8 [C, H, W]
    size: int,  # side in pixels
) -> np.ndarray:
    """Return an image resized as clean-fid does, float32 [3, size, size] in 0..255.

    Pillow's antialiased bicubic filter on floats, channel by channel, clipped but not rounded (Parmar et al. 2022,
    arXiv 2104.11222, section 3).
    """
    pixels = to_rgb(image).astype(np.float32)
    if pixels.shape[1:] == (size, size):
        return pixels
    planes = [Image.fromarray(plane).resize((size, size), Image.Resampling.BICUBIC) for plane in pixels]
    return np.stack([np.asarray(plane) for plane in planes]).clip(0, 255)
