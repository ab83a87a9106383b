"""Losses and penalties as small functions of plain tensors: logistic with R1, path length, WGAN-GP, hinge."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus


def generator_loss(
    fake_logits: Tensor,  # [N, 1]
) -> Tensor:
    """Return the non-saturating loss softplus(-D(G(z))), averaged, [] (Goodfellow et al. 2014, arXiv 1406.2661)."""
    return softplus(-fake_logits).mean()


def discriminator_loss(
    real_logits: Tensor,  # [N, 1]
    fake_logits: Tensor,  # [N, 1]
) -> Tensor:
    """Return the logistic loss softplus(-D(x)) + softplus(D(G(z))), averaged, [] (Goodfellow et al. 2014)."""
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def r1_penalty(
    real_images: Tensor,  # [N, C, H, W], needing gradients
    real_logits: Tensor,  # [N, 1], D's logits of them
) -> Tensor:
    """Return R1, |dD/dx|^2 per image, [N] (Mescheder et al. 2018, arXiv 1801.04406, equation 9)."""
    (grads,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return grads.square().sum([1, 2, 3])  # [N, C, H, W] -> [N]


class PathLength(NamedTuple):
    """The path length regularizer of one batch."""

    penalty: Tensor
    """To add to G's loss, times the steps between penalties, []."""
    mean: Tensor
    """Moving average to pass in next time, [], without gradient."""
    lengths: Tensor
    """Path length of each sample, [N], without gradient."""


def path_length(
    images: Tensor,  # G's images, [N, C, H, W]
    styles: Tensor,  # the w they were made from, [N, L, D], needing gradients
    mean: Tensor,  # moving average of earlier path lengths, []; 0 at the start
    noise: Tensor,  # standard normal, [N, C, H, W]
    weight: float = 2.0,
    decay: float = 0.01,  # weight of this batch in the moving average
    reduce: Callable[[Tensor], Tensor] = lambda value: value,  # mean over all ranks
    lagged: bool = False,  # True: a is `mean` as passed in, so that parts of a batch add up to the whole exactly
) -> PathLength:
    """Return E (|J_w^T y|_2 - a)^2 (Karras et al. 2019, arXiv 1912.04958, equation 4) and the path lengths.

    y is noise scaled by 1 / sqrt(H W), and a is the moving average of the lengths. A length is the root of the mean
    over layers of the squared gradient norm with respect to w. The penalty asks for a fixed change of the image per
    change of w, in every direction.
    """
    noise = noise / math.sqrt(images.shape[2] * images.shape[3])
    (grads,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
    lengths = grads.square().sum(2).mean(1).sqrt()  # [N, L, D] -> [N]
    moved = mean.lerp(reduce(lengths.detach().mean()), decay)
    target = mean if lagged else moved
    return PathLength((lengths - target).square().mean() * weight, moved, lengths.detach())


def critic_loss(
    real_scores: Tensor,  # [N, 1]
    fake_scores: Tensor,  # [N, 1]
    drift: float = 0.001,  # weight of the squared scores of reals, which keeps them near 0
) -> Tensor:
    """Return the Wasserstein critic's loss, [] (Arjovsky et al. 2017, arXiv 1701.07875).

    The drift term is ProGAN's (Karras et al. 2017, arXiv 1710.10196, appendix A).
    """
    return fake_scores.mean() - real_scores.mean() + real_scores.square().mean() * drift


def critic_generator_loss(
    fake_scores: Tensor,  # [N, 1]
) -> Tensor:
    """Return the Wasserstein generator's loss, minus the critic's mean score of fakes, []."""
    return -fake_scores.mean()


def hinge_loss(
    real_logits: Tensor,  # [N, K]
    fake_logits: Tensor,  # [N, K]
) -> Tensor:
    """Return the hinge loss max(0, 1 - D(x)) + max(0, 1 + D(G(z))), averaged, [] (Lim & Ye 2017, arXiv 1705.02894).

    Its generator minimizes -D(G(z)), as the Wasserstein generator does.
    """
    return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()


class Objective(NamedTuple):
    """The losses of the two players."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """Of the logits [N, K] of reals and of fakes."""
    generator: Callable[[Tensor], Tensor]
    """Of the logits [N, K] of fakes."""


OBJECTIVES = {
    "logistic": Objective(discriminator_loss, generator_loss),
    "wgan-gp": Objective(critic_loss, critic_generator_loss),
    "hinge": Objective(hinge_loss, critic_generator_loss),
}
"""By the name of `--loss`."""


def mean_over_scales(values: list[Tensor]) -> Tensor:
    """Return the mean of one value [] per scale, []."""
    return values[0] if len(values) == 1 else torch.stack(values).mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],  # images [N, C, H, W] to scores [N, 1]
    real: Tensor,  # [N, C, H, W]
    fake: Tensor,  # [N, C, H, W]
    position: Tensor,  # [N], uniform in [0, 1]: where to evaluate between the two, 0 at the real
    weight: float = 10.0,
    target: float = 1.0,  # gradient norm to aim for
) -> Tensor:
    """Return WGAN-GP's penalty per pair, weight (|gradient| - target)^2 / target^2, [N].

    Gulrajani et al. 2017, arXiv 1704.00028, equation 3.
    """
    position = position.to(real.dtype)[:, None, None, None]
    between = real.detach().lerp(fake.detach().to(real.dtype), position).requires_grad_()
    (grads,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norm = grads.square().sum([1, 2, 3]).sqrt()  # [N, C, H, W] -> [N]
    return (norm - target).square() * (weight / target**2)
