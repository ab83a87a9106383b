"""Convolutions on a GPU whose derivatives of any order are convolutions again.

A convolution is linear in its input and in its kernel, and so is each of its two gradients in what it is made of: the
derivative of each of the three is the other two. Autograd's own second derivative of a convolution, which R1 and path
length need, takes ways that cuDNN has no fast kernels for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Shape(NamedTuple):
    """How a kernel moves over a picture, the same in both directions."""

    stride: int = 1
    padding: int = 0
    transposed: bool = False


def convolve(
    x: Tensor,  # [N, C, H, W]
    weight: Tensor,  # [K, C, h, w]; [C, K, h, w] where transposed
    bias: Tensor | None = None,  # [K]
    stride: int = 1,
    padding: int = 0,
    transposed: bool = False,
) -> Tensor:
    """`F.conv2d` or `F.conv_transpose2d`, under autocast as they are: [N, K, Y, X]."""
    if not (x.is_cuda and torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        work = F.conv_transpose2d if transposed else F.conv2d
        return work(x, weight, bias, stride=stride, padding=padding)
    kind = computed_in(x)
    y = differentiable(x.to(kind), weight.to(kind), Shape(stride, padding, transposed))
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]


def computed_in(x: Tensor) -> torch.dtype:
    """The type that `x` is convolved in, under autocast or not."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def differentiable(x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """`x` convolved with `weight`, both of one type."""
    y: Tensor = _Convolution.apply(x, weight, shape)  # type: ignore[no-untyped-call]
    return y


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = shape
        return _forward(x, weight, shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = _OfInput.apply(grad, weight, x.shape, ctx.shape) if ctx.needs_input_grad[0] else None  # type: ignore
        of_weight = _OfWeight.apply(grad, x, weight.shape, ctx.shape) if ctx.needs_input_grad[1] else None  # type: ignore
        return of_x, of_weight, None


class _OfInput(torch.autograd.Function):
    """The gradient of a convolution's input."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, weight: Tensor, size: torch.Size, shape: Shape) -> Tensor:
        ctx.save_for_backward(grad, weight)
        ctx.shape = shape
        return _gradients(grad, like(grad, size), weight, shape, (True, False))[0]

    @staticmethod
    def backward(ctx: Any, back: Tensor) -> tuple[Tensor | None, ...]:
        grad, weight = ctx.saved_tensors
        of_grad = _Convolution.apply(back, weight, ctx.shape) if ctx.needs_input_grad[0] else None  # type: ignore
        of_weight = _OfWeight.apply(grad, back, weight.shape, ctx.shape) if ctx.needs_input_grad[1] else None  # type: ignore
        return of_grad, of_weight, None, None


class _OfWeight(torch.autograd.Function):
    """The gradient of a convolution's kernel."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, size: torch.Size, shape: Shape) -> Tensor:
        ctx.save_for_backward(grad, x)
        ctx.shape = shape
        return _gradients(grad, x, like(x, size), shape, (False, True))[1]

    @staticmethod
    def backward(ctx: Any, back: Tensor) -> tuple[Tensor | None, ...]:
        grad, x = ctx.saved_tensors
        of_grad = _Convolution.apply(x, back, ctx.shape) if ctx.needs_input_grad[0] else None  # type: ignore
        of_x = _OfInput.apply(grad, back, x.shape, ctx.shape) if ctx.needs_input_grad[1] else None  # type: ignore
        return of_grad, of_x, None, None


def _forward(x: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    y: Tensor = torch.ops.aten.convolution(
        x, weight, None, [shape.stride] * 2, [shape.padding] * 2, [1, 1], shape.transposed, [0, 0], 1
    )
    return y


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, shape: Shape, which: tuple[bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
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
        [*which, False],
    )
    return gradients


def like(x: Tensor, size: Sequence[int]) -> Tensor:
    """Memory of this size, of the type and laid out as `x` is; nothing is written to it."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.empty(
        size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last if last else torch.contiguous_format
    )
