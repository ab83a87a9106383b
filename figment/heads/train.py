"""Training, or fine-tuning, the head detector from an iterator of pictures with the boxes of their heads."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from figment.base.pixels import to_unit
from figment.base.progress import track
from figment.heads.loss import detection_loss, make_targets
from figment.heads.network import HeadNet, channels_last
from figment.heads.views import Scene, ScenePool, View


@dataclass(frozen=True)
class TrainConfig:
    """How long and on what the detector trains."""

    steps: int = 1200
    """Batches to train on."""
    batch: int = 16
    """Views in a batch."""
    size: int = 224
    """Side of a view in pixels, a multiple of 64."""
    large: int = 0
    """Side of the views of every second batch, which holds fewer of them for as many pixels; 0: as the others."""
    rate: float = 2e-3
    """Highest learning rate; it warms up, then falls as a cosine."""
    fresh: int = 4
    """New scenes taken from the iterator for each batch, while it gives any."""
    pool: int = 400
    """Scenes held at a time."""
    backbone: bool = True
    """False: the features stay as they are, to the bit, and with them headness and embedding; only boxes learn."""
    ema: float = 0.997
    """Decay of the averaged weights, which are what training returns."""
    seed: int = 0
    """Two trainings with the same seed, scenes and number of threads give the same weights."""


@dataclass(frozen=True)
class Step:
    """What one batch came to."""

    number: int
    """Counted from 1."""
    heat: float
    """Loss of the centres."""
    sides: float
    """Loss of the boxes, 0 where they fit exactly."""
    sec: float
    """Since the start."""
    net: HeadNet
    """The averaged network so far."""


def train_detector(
    scenes: Iterable[Scene],  # RGB pictures with the boxes of their heads; endless or not
    *,
    config: TrainConfig | None = None,  # None: the defaults
    start: HeadNet | None = None,  # fine-tune this network; None: train from nothing
    on_step: Callable[[Step], None] | None = None,  # told after every batch
) -> HeadNet:
    """Train a head detector and return it, with averaged weights, in evaluation mode."""
    config = config or TrainConfig()
    began = time.monotonic()
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)

    # The network that learns and the slow average of it that is kept.
    net = copy.deepcopy(start) if start is not None else HeadNet()
    channels_last(net).train()
    if not config.backbone:
        for part in (net.stem, net.down8, net.down16, net.down32):
            part.eval().requires_grad_(False)
    kept = copy.deepcopy(net).eval()
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=config.rate, weight_decay=1e-2)

    # Enough scenes for a varied first batch; later each batch brings a few more.
    pool = ScenePool(scenes, config.pool)
    pool.refresh(max(config.batch, config.fresh))
    if not pool.held:
        raise ValueError("scenes: needs at least one picture")

    for number in track(range(1, config.steps + 1), "training"):
        for group in optimizer.param_groups:
            group["lr"] = config.rate * learning_rate(number, config.steps)
        pool.refresh(config.fresh)
        side = config.large if config.large and number % 2 == 0 else config.size
        count = max(1, round(config.batch * (config.size / side) ** 2))
        views = [pool.draw(rng, side) for _ in range(count)]
        heat, sides = train_step(net, optimizer, views)
        average(kept, net, min(config.ema, number / (number + 10)))
        if on_step:
            on_step(Step(number, heat, sides, time.monotonic() - began, kept))
    return kept.requires_grad_(True)


def learning_rate(
    number: int,  # the step, from 1
    steps: int,
) -> float:
    """The share of the highest learning rate: a linear rise over 5% of the steps, then a cosine down to 2%."""
    warm = max(1, steps // 20)
    if number <= warm:
        return number / warm
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (number - warm) / max(1, steps - warm))) / 2


def train_step(
    net: HeadNet,
    optimizer: torch.optim.Optimizer,
    views: Sequence[View],
) -> tuple[float, float]:
    """One step of the optimizer on `views`; the losses of centres and boxes before it."""
    pixels = torch.from_numpy(np.stack([view.pixels for view in views]))  # [N, H, W, 3]
    images = to_unit(pixels.permute(0, 3, 1, 2))  # [N, 3, H, W], channels last in memory
    side = pixels.shape[1]
    targets = make_targets([view.heads for view in views], [view.ignored for view in views], (side, side))

    heat, sides = detection_loss(net(images), targets)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(heat + 2 * sides)
    torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
    optimizer.step()
    return float(heat.detach()), float(sides.detach())


@torch.no_grad()
def average(
    kept: HeadNet,
    net: HeadNet,
    decay: float,  # how much of `kept` stays
) -> None:
    """Move `kept` a little towards `net`: an exponential moving average of weights and statistics."""
    for old, new in zip(kept.state_dict().values(), net.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)
