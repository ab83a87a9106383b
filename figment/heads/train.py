"""Train or fine-tune the head detector on images with the boxes of their heads."""

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
    """Hyperparameters of a training."""

    steps: int = 1200
    """Number of batches."""
    batch: int = 16
    """Views in a batch."""
    size: int = 224
    """Side of a view in pixels, a multiple of 64."""
    large: int = 0
    """Side of the views of every second batch, which has fewer views but as many pixels; 0 means `size`."""
    rate: float = 2e-3
    """Highest learning rate; see `learning_rate`."""
    fresh: int = 4
    """New scenes taken from the iterator for each batch."""
    pool: int = 400
    """Scenes in memory."""
    backbone: bool = True
    """False freezes the backbone, so that headness and embedding stay bit-identical and only boxes are trained."""
    ema: float = 0.997
    """Decay of the exponential moving average of the weights, which training returns."""
    seed: int = 0
    """Trainings with the same seed, scenes and number of threads give the same weights."""


@dataclass(frozen=True)
class Step:
    """State after one batch."""

    number: int
    """Number of batches so far."""
    heat: float
    """Loss of the heat maps."""
    sides: float
    """Loss of the boxes; 0 for an exact fit."""
    sec: float
    """Seconds since the start."""
    net: HeadNet
    """The averaged network."""


def train_detector(
    scenes: Iterable[Scene],  # RGB images with the boxes of their heads; may be endless
    *,
    config: TrainConfig | None = None,  # None means the defaults
    start: HeadNet | None = None,  # network to fine-tune; None starts from random weights
    on_step: Callable[[Step], None] | None = None,  # called after every batch
) -> HeadNet:
    """Train a head detector; return it with averaged weights in evaluation mode. Raises ValueError without scenes."""
    config = config or TrainConfig()
    began = time.monotonic()
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)

    # The trained network, and its moving average.
    net = copy.deepcopy(start) if start is not None else HeadNet()
    channels_last(net).train()
    if not config.backbone:
        for part in (net.stem, net.down8, net.down16, net.down32):
            part.eval().requires_grad_(False)
    kept = copy.deepcopy(net).eval()
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=config.rate, weight_decay=1e-2)

    # Start with enough scenes for a varied first batch; each batch adds a few.
    pool = ScenePool(scenes, config.pool)
    pool.refresh(max(config.batch, config.fresh))
    if not pool.held:
        raise ValueError("scenes: needs at least one image")

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
    number: int,  # step, from 1
    steps: int,
) -> float:
    """Return the factor of the learning rate: a linear rise over 5% of the steps, then a cosine down to 2%."""
    warm = max(1, steps // 20)
    if number <= warm:
        return number / warm
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (number - warm) / max(1, steps - warm))) / 2


def train_step(
    net: HeadNet,
    optimizer: torch.optim.Optimizer,
    views: Sequence[View],
) -> tuple[float, float]:
    """Take one optimizer step on `views`; return the losses of heat maps and boxes before it."""
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
    decay: float,  # weight of `kept`
) -> None:
    """Update `kept`, the exponential moving average of the weights and statistics of `net`."""
    for old, new in zip(kept.state_dict().values(), net.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)
        else:
            old.copy_(new)
