"""Stopgap: the operations behind their final names, on top of the old modules."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from figment.nets import fused, launch
from figment.nets.bilinear import computed_in, convolve, like
from figment.nets.fastconv import conv_double, conv_half, conv_same
from figment.nets.fastconv import lay_out as to_layout

__all__ = [
    "FIR_121",
    "FIR_1331",
    "conv2d",
    "conv2d_lrelu",
    "conv_transpose2d",
    "filtered_lrelu",
    "full_precision",
    "modulate",
    "to_layout",
    "to_rgb",
    "upfirdn2d",
    "upsample2d",
]
FIR_121, FIR_1331 = 3, 4


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    return torch.autocast(x.device.type, enabled=False)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0) -> Tensor:
    if weight.shape[2:] == (3, 3) and (stride, padding) == (1, 1):
        return conv_same(x, weight, bias)
    if weight.shape[2:] == (3, 3) and (stride, padding) == (2, 0):
        return conv_half(x, weight, bias)
    return convolve(x, weight, bias, stride=stride, padding=padding)


def conv_transpose2d(x: Tensor, weight: Tensor, stride: int = 2, padding: int = 0) -> Tensor:
    return conv_double(x, weight.transpose(0, 1))


def _lrelu(x: Tensor, clamp: float | None) -> Tensor:
    x = F.leaky_relu_(x, 0.2)
    return x if clamp is None else x.clamp(-clamp, clamp)


def conv2d_lrelu(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, padding: int = 0, clamp: float | None = None
) -> Tensor:
    if bias is not None and clamp is None and fused.fuses(x):
        if weight.shape[2] == 1 and stride == 1 and x.shape[1] <= fused.COLOURS and fused.fuses_once(x):
            return fused.spread(x, weight[:, :, 0, 0], bias, computed_in(x))
        return fused.filter_act(conv2d(x, weight, None, stride, padding), bias)
    return _lrelu(conv2d(x, weight, bias, stride, padding), clamp)


def upfirdn2d(x: Tensor, taps: int, up: int = 1, down: int = 1, padding: int = 0, gain: float = 1.0) -> Tensor:
    return fir(x, taps, padding, down, gain)


def upsample2d(x: Tensor) -> Tensor:
    return enlarge(x)


def modulate(x: Tensor, style: Tensor) -> Tensor:
    return fused.scaled(x, style) if fused.fuses(x) else x * style.to(x.dtype)[:, :, None, None]


def filtered_lrelu(
    x: Tensor,
    bias: Tensor,
    *,
    scale: Tensor | None = None,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    taps: int = 1,
    padding: int = 0,
    gain: float = 1.0,
    clamp: float | None = None,
) -> Tensor:
    together = fused.fuses(x) and clamp is None
    if taps > 1 and not (together and fused.fuses_once(x)):
        x, taps = fir(x, taps, padding, 1, gain), 1
    if together:
        low_pass = (taps, padding, gain) if taps > 1 else ()
        return fused.filter_act(x, bias, scale, noise, None if noise is None else noise_strength, *low_pass)
    assert scale is not None
    x = torch.addcmul(bias.to(x.dtype)[None, :, None, None], x, scale.to(x.dtype)[:, :, None, None])
    if noise is not None and noise_strength is not None:
        x = x + (noise * noise_strength).to(x.dtype)
    return _lrelu(x, clamp)


def to_rgb(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor, clamp: float | None = None) -> Tensor:
    with full_precision(x):
        if fused.fuses(x) and clamp is None:
            return fused.mixed(x, weight[:, :, 0, 0] * style[:, None], bias)
        x = convolve(x.to(weight.dtype) * style[:, :, None, None], weight, bias)
    return x if clamp is None else x.clamp(-clamp, clamp)


def _filter(x: Tensor, taps: int, gain: float) -> Tensor:
    """The separable binomial filter as a depthwise kernel [C, 1, K, K] of sum `gain`, made on the device of `x`."""
    edge, middle = x.new_ones(1), x.new_full((taps - 2,), float(taps - 1))
    line: Tensor = torch.cat([edge, middle, edge]) * (math.sqrt(gain) / float(2 ** (taps - 1)))
    return (line[:, None] * line).expand(x.shape[1], 1, -1, -1).contiguous(memory_format=torch.channels_last)


def _fir(x: Tensor, taps: int, pad: int, down: int, gain: float) -> Tensor:
    if fused.fits(x):
        return launch.filter_act(x, taps=taps, pad=pad, down=down, gain=gain)
    return F.conv2d(x, _filter(x, taps, gain), padding=pad, stride=down, groups=x.shape[1])


def _fir_adjoint(x: Tensor, taps: int, pad: int, up: int, gain: float, odd: tuple[int, int]) -> Tensor:
    if up == 1:
        return _fir(x, taps, taps - 1 - pad, 1, gain)
    if fused.fits(x):
        size = [(length - 1) * up + taps - 2 * pad + more for length, more in zip(x.shape[2:], odd, strict=True)]
        return launch.filter_act(x, taps=taps, pad=pad, up=up, gain=gain, size=(size[0], size[1]))
    if x.device.type == "cpu" and x.dtype == torch.bfloat16:  # oneDNN has no fast transposed way
        size = [(length - 1) * up + 1 + more for length, more in zip(x.shape[2:], odd, strict=True)]
        spread = like(x, (*x.shape[:2], *size)).zero_()
        spread[:, :, ::up, ::up] = x
        return _fir(spread, taps, taps - 1 - pad, 1, gain)
    return F.conv_transpose2d(x, _filter(x, taps, gain), stride=up, padding=pad, output_padding=odd, groups=x.shape[1])


class _Fir(torch.autograd.Function):
    """A depthwise FIR filter, whose derivative is its adjoint: cheap to differentiate any number of times.

    Autograd's own double backward of a depthwise convolution, which R1 needs, costs tens of times the forward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: int, pad: int, down: int, gain: float) -> Tensor:
        ctx.rest = (taps, pad, down, gain)
        ctx.odd = tuple((size + 2 * pad - taps) % down for size in x.shape[2:])
        return _fir(x, taps, pad, down, gain)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _FirAdjoint.apply(grad, *ctx.rest, ctx.odd), None, None, None, None  # type: ignore[no-untyped-call]


class _FirAdjoint(torch.autograd.Function):
    """The adjoint of `_Fir`: enlarges by `up`, then filters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: int, pad: int, up: int, gain: float, odd: tuple[int, int]) -> Tensor:
        ctx.rest = (taps, pad, up, gain)
        return _fir_adjoint(x, taps, pad, up, gain, odd)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Fir.apply(grad, *ctx.rest), None, None, None, None, None  # type: ignore[no-untyped-call]


def fir(
    x: Tensor,  # [N, C, H, W]
    taps: int,  # FIR_1331 or SOFT
    pad: int,  # zeros on each side
    down: int = 1,  # keep one pixel of so many
    gain: float = 1.0,
) -> Tensor:
    """`x` under the binomial filter in both directions, channel by channel."""
    if torch.is_grad_enabled() and x.requires_grad:
        filtered: Tensor = _Fir.apply(x, taps, pad, down, gain)  # type: ignore[no-untyped-call]
        return filtered
    return _fir(x, taps, pad, down, gain)


def enlarge(x: Tensor) -> Tensor:
    """`x` [N, C, H, W] at twice its size, interpolated with StyleGAN2's filter."""
    with full_precision(x):
        if torch.is_grad_enabled() and x.requires_grad:
            large: Tensor = _FirAdjoint.apply(x, FIR_1331, 1, 2, 4.0, (0, 0))  # type: ignore[no-untyped-call]
            return large
        return _fir_adjoint(x, FIR_1331, 1, 2, 4.0, (0, 0))
