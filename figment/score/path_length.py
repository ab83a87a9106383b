"""Perceptual path length: how smoothly images change along paths in latent space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from figment.draw.paths import slerp
from figment.nets.base import Generator
from figment.score.backbones import Heads

EPSILON = 1e-4
"""Length of a step, as in the paper."""
REJECT = 0.01
"""Share of the shortest and of the longest steps that is left out, as in the paper."""


class PathLength(NamedTuple):
    """An estimate and its standard error, with figment's own features: not comparable with published PPL."""

    value: float
    error: float


@torch.inference_mode()
def path_length(
    g: Generator,
    features: Heads,
    count: int = 500,  # steps
    seed: int = 0,
    space: str = "w",  # "w" for straight lines between two w, "z" for great circles between two z
) -> PathLength:
    """Return the mean of d(G(t), G(t + eps)) / eps^2 at random t between random pairs.

    Karras et al. (2018, arXiv 1812.04948, section 4.1). d has the form of LPIPS (Zhang et al. 2018, arXiv 1801.03924,
    equation 1) on the backbone of the head detector: unit feature vectors at every place, squared differences averaged
    over places and summed over levels. Each step is drawn alone with fixed noise.
    """
    random = np.random.RandomState(seed)
    lengths = []
    for _ in range(count):
        z = torch.from_numpy(random.randn(2, g.z_dim)).float().to(g.device)  # [2, Z]
        places = (t := float(random.rand()), t + EPSILON)
        if space == "w":
            first, second = g.mapping(z).double()  # [L, D] each
            ws = torch.stack([first.lerp(second, place) for place in places]).float()
        else:
            ws = g.mapping(torch.stack([great_circle(z[0].double(), z[1].double(), place) for place in places]).float())
        images = torch.cat([g.synthesis(w[None], noise="const") for w in ws])  # [2, C, H, W]
        lengths.append(perceptual_distance(features, images) / EPSILON**2)
    lengths.sort()
    cut = int(len(lengths) * REJECT)
    kept = np.array(lengths[cut : len(lengths) - cut])
    return PathLength(float(kept.mean()), float(kept.std(ddof=1) / np.sqrt(len(kept))))


def great_circle(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Return the point at `t` on the arc from a/|a| to b/|b|, all [D]."""
    place = torch.full((1, 1), t, dtype=a.dtype, device=a.device)
    return slerp((a / a.norm())[None], (b / b.norm())[None], place)[0]


def perceptual_distance(
    features: Heads,
    pair: Tensor,  # two images, [2, C, H, W] in [-1, 1], not rounded to 8 bits
) -> float:
    """Return the distance d of `path_length` between two images."""
    rgb = pair[:, :3].expand(-1, 3, -1, -1).to(features.device)
    size = features.size
    if rgb.shape[2] != size:
        rgb = torch.nn.functional.interpolate(rgb, (size, size), mode="bicubic", antialias=True)
    total = 0.0
    for level in features.levels(rgb.contiguous()):
        unit = torch.nn.functional.normalize(level.double(), dim=1)  # [2, C, h, w]
        total += float((unit[0] - unit[1]).square().sum(0).mean())
    return total
