"""The losses of StyleGAN2 as small functions of plain tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating logistic loss (Goodfellow 2014): the mean of softplus(-D(G(z))); logits [N, 1] -> scalar."""
    return softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss (Goodfellow 2014): softplus(-D(x)) + softplus(D(G(z))), means; logits [N, 1] -> scalar."""
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def r1_penalty(real_images: Tensor, real_logits: Tensor) -> Tensor:
    """|dD/dx|^2 per image (Mescheder 2018, eq. 9): `real_images` [N, C, H, W] need gradients; returns [N]."""
    (grads,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return grads.square().sum([1, 2, 3])    # [N, C, H, W] -> [N]
