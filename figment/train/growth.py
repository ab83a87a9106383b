"""Progressive growing by images shown: size, minibatch, learning rate and tick length (Karras et al. 2017, 2018).

    now = growth_at(7000, resolution=512)        # lod 0.333, resolution 512, minibatch 4, lr 0.003, ...
    real = fade_reals(real, now.lod)

Nothing here has a state: all follows from the number of images shown, so a resumed run goes on alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from figment.nets.growing import repeat_pixels

MINIBATCHES = {
    1: {4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 4, 1024: 4},
    2: {4: 256, 8: 256, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 8, 1024: 8},
    4: {4: 512, 8: 256, 16: 128, 32: 64, 64: 32, 128: 16, 256: 16, 512: 16, 1024: 16},
    8: {4: 512, 8: 256, 16: 128, 32: 64, 64: 32, 128: 32, 256: 32, 512: 32, 1024: 32},
}
"""Images per step by GPUs and resolution, as StyleGAN's train.py sets them (ProGAN's are the same)."""

RATES = {
    1: {1024: 0.0015},
    2: {512: 0.0015, 1024: 0.002},
    4: {256: 0.0015, 512: 0.002, 1024: 0.003},
    8: {128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003},
}
"""ProGAN's learning rates by GPUs and resolution; 0.001 elsewhere. StyleGAN always takes the last row."""

TICKS = {4: 160, 8: 140, 16: 120, 32: 100, 64: 80, 128: 60, 256: 40, 512: 30, 1024: 20}
"""Kimg per tick by resolution in StyleGAN."""


@dataclass(frozen=True)
class Phases:
    """How a family grows; the defaults are StyleGAN's on one GPU."""

    initial: int = 8
    """Side in pixels that training starts with."""
    training_kimg: float = 600.0
    """Thousands of images for which a size is trained before the next fades in."""
    transition_kimg: float = 600.0
    """Thousands of images in which the next size fades in; 0: at once."""
    minibatch: Mapping[int, int] = field(default_factory=lambda: MINIBATCHES[1])
    """Images per step over all ranks, by resolution; larger ones take the largest's."""
    lr: Mapping[int, float] = field(default_factory=lambda: RATES[8])
    """Learning rate by resolution."""
    lr_base: float = 0.001
    """Learning rate of resolutions that `lr` leaves out."""
    tick_kimg: Mapping[int, float] = field(default_factory=lambda: TICKS)
    """Thousands of images per tick, by resolution."""
    tick_base: float = 160.0
    """Tick of resolutions that `tick_kimg` leaves out."""


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


def stylegan1_phases(gpus: int = 1) -> Phases:
    """StyleGAN's schedule on 1, 2, 4 or 8 GPUs (its train.py); other numbers take the next smaller one's."""
    return Phases(minibatch=MINIBATCHES[_gpus(gpus)])


def progan_phases(gpus: int = 1) -> Phases:
    """ProGAN's schedule on 1, 2, 4 or 8 GPUs (preset v2 of its TensorFlow config.py): from 4x4, shorter last ticks."""
    gpus = _gpus(gpus)
    return Phases(4, minibatch=MINIBATCHES[gpus], lr=RATES[gpus], tick_kimg=TICKS | {512: 20, 1024: 10})


def _gpus(gpus: int) -> int:
    return max(known for known in MINIBATCHES if known <= gpus)


STYLEGAN1 = stylegan1_phases()
PROGAN = progan_phases()


def growth_at(
    kimg: float,  # thousands of images shown so far
    resolution: int,  # the full size: the longer side in pixels
    phases: Phases = STYLEGAN1,
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
