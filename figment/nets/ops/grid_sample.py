"""Bilinear sampling that can be differentiated twice in the image."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from figment.nets.ops.backend import apply


def grid_sample_reference(x: Tensor, grid: Tensor) -> Tensor:
    """Compute `grid_sample` with PyTorch's own function, which autograd differentiates only once."""
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)


def grid_sample(
    x: Tensor,  # [N, C, H, W]
    grid: Tensor,  # [N, Y, X, 2]: x, then y in [-1, 1], where -1 and 1 are the centers of the border pixels
) -> Tensor:
    """Return `x` sampled bilinearly at `grid`, [N, C, Y, X]; places outside take the nearest border pixel.

    Sampling is linear in `x`, and its derivative is its adjoint, so `x` can be differentiated any number of times.
    `grid` gets no gradient.
    """
    return apply(_GridSample, x, grid)


class _GridSample(torch.autograd.Function):
    """Bilinear sampling."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = x.shape
        return grid_sample_reference(x, grid)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (grid,) = ctx.saved_tensors
        return apply(_GridSampleAdjoint, grad, grid, ctx.size), None


class _GridSampleAdjoint(torch.autograd.Function):
    """The adjoint of bilinear sampling: add each sample to the four pixels that it came from."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, grid: Tensor, size: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        # The image's values matter only for the gradient of `grid`, which is not computed: any memory will do.
        x = grad.new_empty(size)
        grad_x: Tensor = torch.ops.aten.grid_sampler_2d_backward(grad, x, grid, 0, 1, True, [True, False])[0]
        return grad_x

    @staticmethod
    def backward(ctx: Any, grad2: Tensor) -> tuple[Tensor | None, ...]:
        (grid,) = ctx.saved_tensors
        return apply(_GridSample, grad2, grid), None, None
