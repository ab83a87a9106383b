"""A perceptual distance without downloads: features of the head detector's backbone and of a discriminator.

likeness = Perceptual(d)
distance = likeness(x, likeness.look(target))      # [N], differentiable
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from figment.heads.describe import Describer
from figment.nets.base import Discriminator

SIDE = 128
"""Images are resized to this side for the backbone."""
PIXELS = 0.2
"""Weight of the mean squared difference of pixels."""


class Perceptual:
    """The distance of LPIPS on other features, without learned weights (Zhang et al. 2018, arXiv 1801.03924, eq. 1).

    Feature vectors are normalized at each place, and all feature maps count the same.
    """

    def __init__(
        self,
        d: Discriminator | None = None,  # a discriminator of the images' size; None uses the backbone alone
        device: torch.device | None = None,  # None means the device of `d`, or the CPU
    ) -> None:
        self.device = device or (d.device if d is not None else torch.device("cpu"))
        self.backbone = Describer.load().net.to(self.device)
        self.d = d

    def look(self, images: Tensor) -> list[Tensor]:
        """Return the features of images [N, C, H, W] in [-1, 1]: maps of unit vectors [N, K, h, w], then the images."""
        rgb = images[:, :3].expand(-1, 3, -1, -1)
        large = F.interpolate(rgb, (SIDE, SIDE), mode="bilinear", antialias=True)
        maps = self.backbone.features(large.contiguous(memory_format=torch.channels_last))
        if self.d is not None:
            maps = maps + self.d.features(images)
        return [F.normalize(seen.float(), dim=1) for seen in maps] + [images]

    def __call__(self, images: Tensor, seen: list[Tensor]) -> Tensor:
        """Return the distance of images [N, C, H, W] from the features of a target (of 1 or N images), [N]."""
        *maps, pixels = zip(self.look(images), seen, strict=True)
        total = torch.stack([(a - b).square().sum(1).mean([1, 2]) for a, b in maps]).mean(0)
        return total + PIXELS * (pixels[0] - pixels[1]).square().mean([1, 2, 3])
