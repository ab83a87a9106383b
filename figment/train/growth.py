"""Progressive growing by images shown: size, minibatch, learning rate and tick length (Karras et al. 2017, 2018).

    now = growth_at(7000, resolution=512)        # lod 0.333, resolution 512, minibatch 4, lr 0.003, ...
    real = fade_reals(real, now.lod)

Nothing here has a state: all follows from the number of images shown, so a resumed run goes on alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from figment.nets.growing import GrowthSchedule, repeat_pixels


@dataclass(frozen=True)
class Growth:
    """What holds at one moment of the run."""

    lod: float
    """Level of detail of both networks: 0 full size, each whole step halves it."""
    resolution: int
    """Side of the finest level in use."""
    minibatch: int
    """Images per step over all ranks."""
    lr: float
    """Learning rate of both optimizers."""
    tick_kimg: float
    """Thousands of images until the next tick."""
    phase: str
    """`fade` while a new level fades in, else `stabilise`."""


def growth_at(
    kimg: float,  # thousands of images shown so far
    resolution: int,  # the full size: the longer side in pixels
    phases: GrowthSchedule,
) -> Growth:
    """What holds after `kimg`: each size is trained for a while, then the next one fades in (Karras 2017, figure 2)."""
    # How many doublings have begun, and how far the current phase has got.
    length = phases.training_kimg + phases.transition_kimg
    done = math.floor(kimg / length) if length > 0 else 0
    fading = max(kimg - done * length - phases.training_kimg, 0.0)

    # Those still to come; a size that is not a power of two starts at the first level not below `initial`.
    lod = float(max(math.floor(math.log2(resolution / phases.initial)), 0) - done)
    if phases.transition_kimg > 0:
        lod -= fading / phases.transition_kimg
    lod = max(lod, 0.0)
    current = resolution >> math.floor(lod)
    key = 1 << max(math.ceil(math.log2(current)), 0)
    return Growth(
        lod,
        current,
        phases.minibatch.get(key, phases.minibatch[max(phases.minibatch)]),
        phases.lr.get(key, phases.lr_base),
        phases.tick_kimg.get(key, phases.tick_base),
        "stabilise" if lod == math.floor(lod) else "fade",
    )


def new_layer(previous: float, current: float) -> bool:
    """Whether layers came into use or faded in fully between two lods: both optimizers then forget their moments."""
    return math.floor(previous) != math.floor(current) or math.ceil(previous) != math.ceil(current)


def fade_reals(
    images: Tensor,  # [N, C, H, W] at full size
    lod: float,
    full_size: bool = True,  # False: stay at the size of the level in use
) -> Tensor:
    """Real pictures as the generator can draw them at `lod`: averaged down, faded towards the next coarser level.

    The original programs then repeat the pixels up to full size and take R1's gradient there, which makes the penalty
    4 ** floor(lod) times smaller than at the level's own size; with `full_size` it is theirs.
    """
    steps = math.floor(lod)
    if steps:
        images = F.avg_pool2d(images, 2**steps)
    if lod > steps:
        images = images.lerp(repeat_pixels(F.avg_pool2d(images, 2), 2), lod - steps)
    return repeat_pixels(images, 2**steps) if full_size else images
