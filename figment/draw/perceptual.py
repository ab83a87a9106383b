"""How alike two pictures look, without anything to download: the head backbone's features, and a discriminator's.

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
"""Pictures are shown to the backbone at this side."""
PIXELS = 0.2
"""Weight of the plain difference of pixels beside the features'."""


class Perceptual:
    """The distance of LPIPS (Zhang 2018, equation 1) on other features: unit vectors at each place, squared difference.

    Every map counts the same. The discriminator's maps are those behind its blocks, from fine to coarse.
    """

    def __init__(
        self,
        d: Discriminator | None = None,  # a discriminator of the pictures' size; None: the backbone alone
        device: torch.device | None = None,  # None: where `d` is, or the CPU
    ) -> None:
        self.device = device or (d.device if d is not None else torch.device("cpu"))
        self.backbone = Describer.load().net.to(self.device)
        self.d = d

    def look(self, images: Tensor) -> list[Tensor]:
        """What is seen in [N, C, H, W] in [-1, 1]: maps of unit vectors [N, K, h, w], the last one the pixels."""
        colours = images[:, :3].expand(-1, 3, -1, -1)
        large = F.interpolate(colours, (SIDE, SIDE), mode="bilinear", antialias=True)
        maps = self.backbone.features(large.contiguous(memory_format=torch.channels_last))
        if self.d is not None:
            maps = maps + self.d.features(images)
        return [F.normalize(seen.float(), dim=1) for seen in maps] + [images]

    def __call__(self, images: Tensor, seen: list[Tensor]) -> Tensor:
        """The distance of each picture [N, C, H, W] from what was seen in the target (of 1 or N pictures): [N]."""
        *maps, pixels = zip(self.look(images), seen, strict=True)
        total = torch.stack([(a - b).square().sum(1).mean([1, 2]) for a, b in maps]).mean(0)
        return total + PIXELS * (pixels[0] - pixels[1]).square().mean([1, 2, 3])
