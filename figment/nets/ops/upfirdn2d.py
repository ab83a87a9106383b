"""FIR resampling: the binomial filters of the StyleGAN families, and filters along lines.

A filter is linear and its derivative is its adjoint, so filters differentiate any number of times at the cost of a
filter. Autograd's own double backward of a depthwise convolution, which R1 needs, costs tens of times the forward pass.
On a GPU the Triton kernels run whenever they can read the input, whatever the backend: filters need no setting.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from figment.nets.ops import triton_launch
from figment.nets.ops.backend import apply, empty_in_layout, full_precision
from figment.nets.ops.triton_launch import Fir

FIR_121 = 3
"""Taps of the binomial filter [1, 2, 1] / 4 (StyleGAN)."""
FIR_1331 = 4
"""Taps of the binomial filter [1, 3, 3, 1] / 8 (StyleGAN2)."""


def upfirdn2d_reference(
    x: Tensor, taps: int, up: int = 1, down: int = 1, padding: int = 0, gain: float = 1.0
) -> Tensor:
    """Compute `upfirdn2d` as one depthwise convolution, transposed if `up` is 2."""
    weight = _weight(x, taps, gain)
    if up == 1:
        return F.conv2d(x, weight, padding=padding, stride=down, groups=x.shape[1])
    return F.conv_transpose2d(x, weight, padding=padding, stride=up, groups=x.shape[1])


def upfirdn2d(
    x: Tensor,  # [N, C, H, W]
    taps: int,  # FIR_121 or FIR_1331
    up: int = 1,  # 2 inserts zeros between the pixels before the filter; needs `down` 1
    down: int = 1,  # downsampling stride after the filter
    padding: int = 0,  # zeros on each side; see below for `up` 2
    gain: float = 1.0,  # sum of the filter
) -> Tensor:
    """Return `x` filtered with a binomial filter in both directions, channel by channel.

    With `up` 1 the result has (H + 2 padding - taps) // down + 1 rows. With `up` 2, padding counts as in a transposed
    convolution: the result has 2 (H - 1) + taps - 2 padding rows, and is the adjoint of `down` 2 with that padding.
    Columns are the same. Raises ValueError for another `up`, or for `up` 2 with a `down` above 1.
    """
    if up not in (1, 2) or (up == 2 and down != 1):
        raise ValueError(f"up {up}, down {down}: up must be 1, or 2 with down 1")
    fir = Fir(taps, padding, up, down, gain)
    if up == 1:
        return apply(_Fir, x, fir) if _differentiates(x) else _fir(x, fir)
    fir = replace(fir, size=(2 * (x.shape[2] - 1) + taps - 2 * padding, 2 * (x.shape[3] - 1) + taps - 2 * padding))
    return apply(_FirAdjoint, x, fir) if _differentiates(x) else _fir(x, fir)


def upsample2d_reference(x: Tensor) -> Tensor:
    """Compute `upsample2d` as one transposed depthwise convolution."""
    with full_precision(x):
        return upfirdn2d_reference(x, FIR_1331, up=2, padding=1, gain=4.0)


def upsample2d(x: Tensor) -> Tensor:
    """Return `x` [N, C, H, W] at twice its size, [N, C, 2H, 2W], interpolated with [1, 3, 3, 1], without autocast."""
    with full_precision(x):
        return upfirdn2d(x, FIR_1331, up=2, padding=1, gain=4.0)


def _differentiates(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


class _Fir(torch.autograd.Function):
    """A filter with `up` 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fir: Fir) -> Tensor:
        ctx.fir, ctx.size = fir, (x.shape[2], x.shape[3])
        return _fir(x, fir)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        fir: Fir = ctx.fir
        if fir.down == 1:  # the filter is symmetric: its adjoint is itself, padded to the input's size
            adjoint = replace(fir, padding=fir.taps - 1 - fir.padding)
            return apply(_Fir, grad, adjoint), None
        return apply(_FirAdjoint, grad, replace(fir, up=fir.down, down=1, size=ctx.size)), None


class _FirAdjoint(torch.autograd.Function):
    """A filter with `up` 2: the adjoint of one with `down` 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fir: Fir) -> Tensor:
        ctx.fir = fir
        return _fir(x, fir)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        fir: Fir = ctx.fir
        return apply(_Fir, grad, replace(fir, up=1, down=fir.up, size=None)), None


def _fir(x: Tensor, fir: Fir) -> Tensor:
    """Filter `x` without recording a gradient."""
    if triton_launch.reads(x):
        return triton_launch.filtered_lrelu(x, fir)
    weight = _weight(x, fir.taps, fir.gain)
    if fir.up == 1:
        return F.conv2d(x, weight, padding=fir.padding, stride=fir.down, groups=x.shape[1])

    # The size of the input of a downsampling filter is known to one pixel only: `extra` are those beyond the smallest.
    rows, columns = fir.output_size(x.shape[2], x.shape[3])
    smallest = replace(fir, size=None).output_size(x.shape[2], x.shape[3])
    extra = (rows - smallest[0], columns - smallest[1])
    if x.device.type == "cpu" and x.dtype == torch.bfloat16:  # oneDNN has no fast transposed convolution here
        zeros = [(length - 1) * fir.up + 1 + more for length, more in zip(x.shape[2:], extra, strict=True)]
        spaced = empty_in_layout(x, (*x.shape[:2], *zeros)).zero_()
        spaced[:, :, :: fir.up, :: fir.up] = x
        return F.conv2d(spaced, weight, padding=fir.taps - 1 - fir.padding, groups=x.shape[1])
    return F.conv_transpose2d(x, weight, stride=fir.up, padding=fir.padding, output_padding=extra, groups=x.shape[1])


def _weight(x: Tensor, taps: int, gain: float) -> Tensor:
    """Return the binomial filter as a depthwise weight [C, 1, taps, taps] of sum `gain`, computed on the device."""
    edge, middle = x.new_ones(1), x.new_full((taps - 2,), float(taps - 1))
    line: Tensor = torch.cat([edge, middle, edge]) * (math.sqrt(gain) / float(2 ** (taps - 1)))
    return (line[:, None] * line).expand(x.shape[1], 1, -1, -1).contiguous(memory_format=torch.channels_last)


# ---------------------------------------------------------------------- filters along lines


def filters_lines(x: Tensor) -> bool:
    """Return whether a Triton kernel filters the lines of `x`."""
    return x.dtype == torch.float32 and triton_launch.kernels_run(x)


def filter_lines_reference(x: Tensor, taps: Tensor, axis: int, up: bool, offset: int, length: int) -> Tensor:
    """Compute `filter_lines` as one matrix product."""
    places = torch.arange(length, device=x.device)[:, None]
    pixels = torch.arange(x.shape[axis], device=x.device)
    tap = places + offset - 2 * pixels if up else pixels - 2 * places + offset  # [length, size]
    known = (tap >= 0) & (tap < len(taps))
    matrix = torch.where(known, taps[tap.clamp(0, len(taps) - 1)], 0.0).to(x.dtype)
    return (x.transpose(axis, -1) @ matrix.t()).transpose(axis, -1)


def filter_lines(
    x: Tensor,  # [N, C, H, W]
    taps: Tensor,  # float32 [T], T even
    axis: int,  # filter along 2 (height) or 3 (width)
    up: bool,  # insert zeros between the pixels first; else keep every second filtered pixel
    offset: int,  # shift of the filter, see below
    length: int,  # of the result along that axis
) -> Tensor:
    """Return `x` filtered along one axis, at twice or half the resolution, differentiable any number of times.

    out[o] is the sum over taps t of taps[t] x[p], with zeros outside. If `up`, p = (o + offset - t) / 2 for those t
    that make it whole; else p = 2 o + t - offset. With the same offset the two are each other's adjoints.
    """
    if not filters_lines(x):
        return filter_lines_reference(x, taps, axis, up, offset, length)
    return apply(_FilterLines, x, taps, axis, up, offset, length)


class _FilterLines(torch.autograd.Function):
    """A filter along lines, by the kernel; its gradient is the filter in the other direction."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor, axis: int, up: bool, offset: int, length: int) -> Tensor:
        ctx.save_for_backward(taps)
        ctx.adjoint = (axis, not up, offset, x.shape[axis])
        return triton_launch.filter_lines(x, taps, axis, up, offset, length)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (taps,) = ctx.saved_tensors
        return apply(_FilterLines, grad, taps, *ctx.adjoint), None, None, None, None, None
