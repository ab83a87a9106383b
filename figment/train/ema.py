"""The moving average of the generator's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def ema_beta(
    nimg: int,  # images shown so far
    batch: int,  # images per step
    ema_kimg: float,  # half-life in thousands of images
    rampup: float = 0.05,  # the half-life is never longer than this share of the images shown
) -> float:
    """The weight of the old average in one step: 0.5 ** (batch / half-life), as in StyleGAN2-ADA."""
    half_life = min(ema_kimg * 1000, nimg * rampup)
    beta: float = 0.5 ** (batch / max(half_life, 1e-8))
    return beta


@torch.no_grad()
def update_ema(average: nn.Module, source: nn.Module, beta: float) -> None:
    """Move `average` towards `source`: parameters by 1 - beta, buffers (w_avg, noise) copied."""
    old: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(source.parameters())
    torch._foreach_lerp_(old, new, 1 - beta)
    for mine, theirs in zip(average.buffers(), source.buffers(), strict=True):
        mine.copy_(theirs)
