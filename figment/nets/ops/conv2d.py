"""Convolutions: with exact double backward on a GPU, and with fewer multiplications on a CPU.

A convolution is linear in its input and in its weight, and so are its two gradients: the derivatives of each of the
three are the other two. On a GPU they are therefore differentiated as convolutions any number of times (the idea of
NVlabs' `conv2d_gradfix`). Autograd's own second derivative of a convolution, which R1 and path length need, takes ways
that cuDNN has no fast kernels for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from figment.nets.ops.backend import apply, compute_dtype, current_backend, empty_in_layout
from figment.nets.ops.winograd import scheme_for, winograd_conv2d, winograd_conv_transpose2d


def conv2d_reference(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """Compute `conv2d` with PyTorch's own convolution."""
    return F.conv2d(x, weight, bias, stride=stride, padding=padding)


def conv2d(
    x: Tensor,  # [N, C, H, W]
    weight: Tensor,  # [K, C, h, w]
    bias: Tensor | None = None,  # [K]; None for no bias
    stride: int = 1,
    padding: int = 0,  # zeros on each side
) -> Tensor:
    """Return `x` convolved with `weight`, [N, K, Y, X] in the compute dtype of `x`."""
    scheme = scheme_for(x, weight, stride, padding) if current_backend().winograd else None
    if scheme is not None:
        return winograd_conv2d(x, weight, bias, scheme)
    if not _differentiates_on_gpu(x, weight):
        return conv2d_reference(x, weight, bias, stride, padding)
    dtype = compute_dtype(x)
    y = convolution(x.to(dtype), weight.to(dtype), ConvShape(stride, padding))
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]


def conv_transpose2d_reference(x: Tensor, weight: Tensor, stride: int = 2, padding: int = 0) -> Tensor:
    """Compute `conv_transpose2d` with PyTorch's own transposed convolution."""
    return F.conv_transpose2d(x, weight, stride=stride, padding=padding)


def conv_transpose2d(
    x: Tensor,  # [N, C, H, W]
    weight: Tensor,  # [C, K, h, w], as in F.conv_transpose2d
    stride: int = 2,
    padding: int = 0,
) -> Tensor:
    """Return the transposed convolution of `x`: [N, K, (H - 1) stride + h - 2 padding, ...]."""
    scheme = scheme_for(x, weight, stride, padding, transposed=True) if current_backend().winograd else None
    if scheme is not None:
        return winograd_conv_transpose2d(x, weight, scheme)
    if not _differentiates_on_gpu(x, weight):
        return conv_transpose2d_reference(x, weight, stride, padding)
    dtype = compute_dtype(x)
    return convolution(x.to(dtype), weight.to(dtype), ConvShape(stride, padding, transposed=True))


def _differentiates_on_gpu(x: Tensor, weight: Tensor) -> bool:
    return x.is_cuda and torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)


# ---------------------------------------------------------------------- double backward


class ConvShape(NamedTuple):
    """Stride and padding of a convolution, the same in both directions."""

    stride: int = 1
    padding: int = 0
    transposed: bool = False


def convolution(x: Tensor, weight: Tensor, shape: ConvShape) -> Tensor:
    """Return `x` [N, C, H, W] convolved with `weight`, differentiable to any order by convolutions alone.

    Both have the same type. `weight` is [K, C, h, w], or [C, K, h, w] if the convolution is transposed.
    """
    return apply(_Convolution, x, weight, shape)


class _Convolution(torch.autograd.Function):
    """The convolution of an input with a weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, shape: ConvShape) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = shape
        y: Tensor = torch.ops.aten.convolution(
            x, weight, None, [shape.stride] * 2, [shape.padding] * 2, [1, 1], shape.transposed, [0, 0], 1
        )
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight = ctx.needs_input_grad[:2]
        grad_x = apply(_InputGradient, grad, weight, x.shape, ctx.shape) if wants_x else None
        grad_weight = apply(_WeightGradient, grad, x, weight.shape, ctx.shape) if wants_weight else None
        return grad_x, grad_weight, None


class _InputGradient(torch.autograd.Function):
    """The gradient of a convolution's input, from the output's gradient and the weight."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, weight: Tensor, size: torch.Size, shape: ConvShape) -> Tensor:
        ctx.save_for_backward(grad, weight)
        ctx.shape = shape
        return _gradients(grad, empty_in_layout(grad, size), weight, shape, (True, False))[0]

    @staticmethod
    def backward(ctx: Any, grad2: Tensor) -> tuple[Tensor | None, ...]:
        grad, weight = ctx.saved_tensors
        wants_grad, wants_weight = ctx.needs_input_grad[:2]
        grad_grad = apply(_Convolution, grad2, weight, ctx.shape) if wants_grad else None
        grad_weight = apply(_WeightGradient, grad, grad2, weight.shape, ctx.shape) if wants_weight else None
        return grad_grad, grad_weight, None, None


class _WeightGradient(torch.autograd.Function):
    """The gradient of a convolution's weight, from the output's gradient and the input."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, size: torch.Size, shape: ConvShape) -> Tensor:
        ctx.save_for_backward(grad, x)
        ctx.shape = shape
        return _gradients(grad, x, empty_in_layout(x, size), shape, (False, True))[1]

    @staticmethod
    def backward(ctx: Any, grad2: Tensor) -> tuple[Tensor | None, ...]:
        grad, x = ctx.saved_tensors
        wants_grad, wants_x = ctx.needs_input_grad[:2]
        grad_grad = apply(_Convolution, x, grad2, ctx.shape) if wants_grad else None
        grad_x = apply(_InputGradient, grad, grad2, x.shape, ctx.shape) if wants_x else None
        return grad_grad, grad_x, None, None


def _gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    shape: ConvShape,
    wanted: tuple[bool, bool],  # which gradients to compute: of x, of weight
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a convolution's input, weight and (never computed) bias."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        [shape.stride] * 2,
        [shape.padding] * 2,
        [1, 1],
        shape.transposed,
        [0, 0],
        1,
        [*wanted, False],
    )
    return gradients
