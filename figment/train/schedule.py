"""What holds at one moment of a run: size, minibatch, learning rate, tick length, and the regularizers that are due.

    now = schedule_at(config, nimg=7_000_000)        # lod 0.333, resolution 512, minibatch 4, lr 0.0015, ...
    real = fade_reals(real, now.lod)
    due = due_regularizers(config.recipe, step=16)   # Due(r1=True, path_length=True)

Everything follows from the number of images shown and the number of steps, so a resumed run needs no more than those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from figment.base.errors import FigmentError
from figment.nets.growing import GrowthSchedule, repeat_pixels
from figment.nets.registry import get_family
from figment.train.config import Recipe, TrainConfig

BLUR_KIMG = 200 / 32
"""Thousands of images in which the blur goes away, per image of the batch (Karras et al. 2021, arXiv 2106.12423)."""
PATH_INTERVAL = 4
"""Steps between path length penalties (lazy regularization, Karras et al. 2019, arXiv 1912.04958, appendix B)."""


@dataclass(frozen=True)
class Moment:
    """What holds at one moment of a run."""

    lod: float
    """Level of detail of both networks: 0 is full size, each whole step halves it."""
    resolution: int
    """Side of the finest block in use, in pixels."""
    minibatch: int
    """Images per step over all ranks."""
    lr: float
    """Learning rate of both optimizers."""
    tick_kimg: float
    """Thousands of images per tick."""
    phase: str
    """`fade` while a new block fades in, else `stabilise`."""
    blur: float = 0.0
    """Standard deviation of the blur of what D sees, in pixels."""


def schedule_at(
    config: TrainConfig,
    nimg: int,  # images shown so far
    gpus: int = 1,
) -> Moment:
    """Return what holds after `nimg` images: the recipe's values, or the growing schedule's for those that are 0.

    Raises FigmentError if the configuration grows networks of a family that can't.
    """
    recipe, schedule, resolution = config.recipe, config.schedule, config.networks.resolution
    if not schedule.growing:
        blur = recipe.blur_sigma * max(1 - nimg / (BLUR_KIMG * 1000 * recipe.batch), 0.0)
        return Moment(0.0, resolution, recipe.batch, recipe.lr, schedule.tick_kimg, "stabilise", blur)
    growth = get_family(config.networks.family).growth
    if growth is None:
        raise FigmentError(f"growing: networks of family {config.networks.family} don't grow")
    now = growth_at(nimg / 1000, resolution, growth(gpus))
    return Moment(
        now.lod,
        now.resolution,
        recipe.batch or now.minibatch,
        recipe.lr or now.lr,
        schedule.tick_kimg or now.tick_kimg,
        now.phase,
    )


# --- Progressive growing (Karras et al. 2017, arXiv 1710.10196; Karras et al. 2018, arXiv 1812.04948)


def growth_at(
    kimg: float,  # thousands of images shown so far
    resolution: int,  # full size: the longer side in pixels
    phases: GrowthSchedule,
) -> Moment:
    """Return what holds after `kimg`: each size trains for a while, then the next fades in (Karras 2017, figure 2)."""
    # How many doublings have begun, and how far the current one has faded in.
    length = phases.training_kimg + phases.transition_kimg
    done = math.floor(kimg / length) if length > 0 else 0
    fading = max(kimg - done * length - phases.training_kimg, 0.0)

    # The doublings that remain.
    lod = phases.first_lod(resolution) - done
    if phases.transition_kimg > 0:
        lod -= fading / phases.transition_kimg
    lod = max(lod, 0.0)
    current = resolution >> math.floor(lod)
    key = 1 << max(math.ceil(math.log2(current)), 0)
    return Moment(
        lod,
        current,
        phases.minibatch.get(key, phases.minibatch[max(phases.minibatch)]),
        phases.lr.get(key, phases.lr_base),
        phases.tick_kimg.get(key, phases.tick_base),
        "stabilise" if lod == math.floor(lod) else "fade",
    )


def layers_changed(previous: float, current: float) -> bool:
    """Return whether a block appeared or finished fading in between two lods: both optimizers are then reset."""
    return math.floor(previous) != math.floor(current) or math.ceil(previous) != math.ceil(current)


def fade_reals(
    images: Tensor,  # [N, C, H, W] at full size
    lod: float,
    full_size: bool = True,  # False: keep the size of the block in use
) -> Tensor:
    """Return real images as the generator can draw them at `lod`: averaged down, faded towards the next coarser block.

    The original programs repeat the pixels up to full size and take R1's gradient there, which makes the penalty
    4 ** floor(lod) times smaller than at the block's own size; with `full_size` it is theirs.
    """
    steps = math.floor(lod)
    if steps:
        images = F.avg_pool2d(images, 2**steps)
    if lod > steps:
        images = images.lerp(repeat_pixels(F.avg_pool2d(images, 2), 2), lod - steps)
    return repeat_pixels(images, 2**steps) if full_size else images


# --- Lazy regularization


class Due(NamedTuple):
    """The regularizers that a step includes."""

    r1: bool
    path_length: bool


class KindOfStep(NamedTuple):
    """Steps with the same regularizers."""

    step: int
    """Number of the first such step."""
    share: float
    """Share of all steps, 0 to 1."""


def due_regularizers(recipe: Recipe, step: int) -> Due:
    """Return which regularizers step `step` includes."""
    r1 = bool(recipe.gamma) and recipe.loss != "wgan-gp" and step % recipe.r1_interval == 0
    return Due(r1, bool(recipe.path_weight) and step % PATH_INTERVAL == 0)


def kinds_of_step(recipe: Recipe) -> dict[Due, KindOfStep]:
    """Return the kinds of step that training repeats, by their regularizers."""
    cycle = math.lcm(recipe.r1_interval, PATH_INTERVAL)
    steps: dict[Due, list[int]] = {}
    for step in range(cycle):
        steps.setdefault(due_regularizers(recipe, step), []).append(step)
    return {due: KindOfStep(numbers[0], len(numbers) / cycle) for due, numbers in steps.items()}
