"""Losses and penalties as small functions of plain tensors: logistic with R1, path length, WGAN-GP."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from figment.train.memory import whole_group

PATH_INTERVAL = 4
"""Steps between looks at the path length (lazy regularisation, Karras et al. 2019, appendix B)."""

PATH_SHRINK = 2
"""The path length is looked at in this fraction of a batch."""


def judge_both(d: Any, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """D's logits of two batches [n, C, H, W] in one pass, each compared in the groups that it would have alone."""
    n, group = len(real), d.minibatch_group
    size = whole_group(n, group)
    if not group or whole_group(2 * n, group) != size:
        return d(real).float(), d(fake).float()

    # Sample i belongs to group i mod groups: side by side the reals' groups come first in each row, then the fakes'.
    both = torch.cat([batch.unflatten(0, (size, n // size)) for batch in (real, fake)], 1)  # [size, 2 groups, ...]
    logits = d(both.flatten(0, 1)).float().unflatten(0, (size, 2 * n // size))
    of_real, of_fake = logits.split(n // size, 1)  # [size, groups, 1]
    return of_real.flatten(0, 1), of_fake.flatten(0, 1)


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating logistic loss (Goodfellow 2014): the mean of softplus(-D(G(z))); logits [N, 1] -> scalar."""
    return softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss (Goodfellow 2014): softplus(-D(x)) + softplus(D(G(z))), means; logits [N, 1] -> scalar."""
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def r1_penalty(real_images: Tensor, real_logits: Tensor) -> Tensor:
    """|dD/dx|^2 per image (Mescheder 2018, eq. 9): `real_images` [N, C, H, W] need gradients; returns [N]."""
    (grads,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return grads.square().sum([1, 2, 3])  # [N, C, H, W] -> [N]


class PathLength(NamedTuple):
    """What one look at the path length gives."""

    penalty: Tensor
    """To add to G's loss, times the steps between looks, []."""
    mean: Tensor
    """The moving average to hand in next time, [], without gradient."""
    lengths: Tensor
    """The path length of each sample, [N], without gradient."""


def path_length(
    images: Tensor,  # G's pictures, [N, C, H, W]
    styles: Tensor,  # the w that they were made of, [N, L, D], needing gradients
    mean: Tensor,  # the moving average of earlier path lengths, []; 0 at the start
    noise: Tensor,  # normal, of the shape of `images`
    weight: float = 2.0,
    decay: float = 0.01,  # how fast the average follows
    reduce: Callable[[Tensor], Tensor] = lambda value: value,  # the mean over all ranks
    lagged: bool = False,  # True: a is `mean` as handed in, so that parts of a batch add up to the whole exactly
) -> PathLength:
    """E (|J_w^T y|_2 - a)^2 (Karras et al. 2019, equation 4): w moved anywhere should change pictures equally much.

    y is noise scaled by 1 / sqrt(H W), and a the moving average of the lengths. A length is the root of the mean over
    layers of the squared length of the gradient for w. Half a batch is enough (PATH_SHRINK), every fourth step.
    """
    noise = noise / math.sqrt(images.shape[2] * images.shape[3])
    (grads,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
    lengths = grads.square().sum(2).mean(1).sqrt()  # [N, L, D] -> [N]
    moved = mean.lerp(reduce(lengths.detach().mean()), decay)
    aim = mean if lagged else moved
    return PathLength((lengths - aim).square().mean() * weight, moved, lengths.detach())


def critic_loss(
    real_scores: Tensor,  # [N, 1]
    fake_scores: Tensor,  # [N, 1]
    drift: float = 0.001,  # weight of the squared scores of reals, which keeps them near 0
) -> Tensor:
    """The Wasserstein critic's loss (Arjovsky 2017) with ProGAN's drift (Karras et al. 2017, appendix A) -> scalar."""
    return fake_scores.mean() - real_scores.mean() + real_scores.square().mean() * drift


def critic_generator_loss(fake_scores: Tensor) -> Tensor:
    """The Wasserstein generator's loss: minus the critic's mean score of fakes, [N, 1] -> scalar."""
    return -fake_scores.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],  # pictures [N, C, H, W] to scores [N, 1]
    real: Tensor,  # [N, C, H, W]
    fake: Tensor,  # [N, C, H, W]
    place: Tensor,  # uniform, [N]: where between the two, 0 at the real
    weight: float = 10.0,
    target: float = 1.0,  # the wished-for slope
) -> Tensor:
    """WGAN-GP's penalty between pairs, weight (|slope| - target)^2 / target^2, [N] (Gulrajani 2017, equation 3)."""
    place = place.to(real.dtype)[:, None, None, None]
    between = real.detach().lerp(fake.detach().to(real.dtype), place).requires_grad_()
    (grads,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    slope = grads.square().sum([1, 2, 3]).sqrt()  # [N, C, H, W] -> [N]
    return (slope - target).square() * (weight / target**2)
