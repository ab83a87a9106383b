"""What all families are built of: equalised weights, leaky ReLU, small FIR filters, minibatch deviation."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.nets import fused, launch
from figment.nets.bilinear import computed_in, convolve, like
from figment.nets.fastconv import conv_half, conv_same

SQRT2 = math.sqrt(2.0)
SMOOTH = 4  # StyleGAN2's filter, 1 3 3 1: the binomial filter of four taps
SOFT = 3  # StyleGAN's filter, 1 2 1: the binomial filter of three


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Inside, nothing becomes bfloat16: for latents, styles, colours and scores, whose rounding would show."""
    return torch.autocast(x.device.type, enabled=False)


def lrelu(
    x: Tensor,
    clamp: float | None = None,  # limit of the absolute value; None for no limit
) -> Tensor:
    """Leaky ReLU of slope 0.2, in place. Gains belong into the weights before it: lrelu(g x) = g lrelu(x)."""
    x = F.leaky_relu_(x, 0.2)
    return x if clamp is None else x.clamp(-clamp, clamp)


def normalise_rows(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Each vector of `x` [N, D] scaled to mean square 1: the pixel norm of Karras et al. 2017, section 4.2."""
    return x * (x.square().mean(1, keepdim=True) + eps).rsqrt()


class Linear(nn.Module):
    """A fully connected layer with equalised learning rate (Karras et al. 2017, section 4.1).

    Weights are stored with standard deviation `1 / lr_mul` and scaled by `lr_mul * gain / sqrt(inputs)` when used.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        lr_mul: float = 1.0,  # learning rate of this layer relative to the others
        bias_init: float = 0.0,  # the bias that training starts from, as the layer uses it
        activate: bool = False,  # leaky ReLU after it
        gain: float = 1.0,  # of the weights at run time
        act_gain: float = SQRT2,  # of the activation; StyleGAN has sqrt(2) in the weights and 1 here
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        # Arithmetic on weights without memory, as `fill` builds networks, would import torch's compiler: seconds.
        if not self.weight.is_meta:
            self.weight.data /= lr_mul
        self.bias = nn.Parameter(torch.full([outputs], bias_init / lr_mul))
        self.lr_mul = lr_mul
        self.activate = activate
        self.act_gain = act_gain if activate else 1.0
        self.gain = lr_mul * gain / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs] to [N, outputs]."""
        with full_precision(x):
            bias = self.bias * (self.lr_mul * self.act_gain)
            x = torch.addmm(bias, x.to(bias.dtype), (self.weight * (self.gain * self.act_gain)).t())
        return lrelu(x) if self.activate else x


class Conv(nn.Module):
    """A convolution with equalised learning rate; `down` blurs with StyleGAN2's filter and halves the picture."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        down: bool = False,
        bias: bool = True,
        activate: bool = True,  # leaky ReLU after it
        gain: float = 1.0,  # of the weights at run time
        act_gain: float = SQRT2,  # of the activation; StyleGAN has sqrt(2) in the weights and 1 here
        clamp: float | None = None,  # limit of the absolute activation, scaled with `gain`; None for no limit
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs * kernel * kernel)
        self.act_gain = act_gain if activate else 1.0
        self.kernel, self.down, self.activate, self.clamp = kernel, down, activate, clamp

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W], or half that size; `gain` scales the result."""
        clamp = None if self.clamp is None else self.clamp * gain
        weight = self.weight * (self.scale * gain * self.act_gain)
        bias = None if self.bias is None else self.bias * (gain * self.act_gain)

        if self.activate and bias is not None and clamp is None and fused.fuses(x):
            if self.kernel == 1 and not self.down and x.shape[1] <= fused.COLOURS and fused.fuses_once(x):
                return fused.spread(x, weight[:, :, 0, 0], bias, computed_in(x))
            return fused.filter_act(self._convolve(x, weight, None), bias)
        x = self._convolve(x, weight, bias)
        if self.activate:
            return lrelu(x, clamp)
        return x if clamp is None else x.clamp(-clamp, clamp)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # Halving: a 1x1 kernel sees the already halved picture, a larger one blurs first and then strides.
        if self.down and self.kernel == 1:
            return convolve(fir(x, SMOOTH, pad=1, down=2), weight, bias)
        if self.down:
            return conv_half(fir(x, SMOOTH, pad=self.kernel // 2 + 1), weight, bias)
        if self.kernel == 3:
            return conv_same(x, weight, bias)
        return convolve(x, weight, bias, padding=self.kernel // 2)


def colours_of(x: Tensor, layer: Conv) -> Tensor:
    """The picture [N, channels, H, W] that a generator's last layer makes of features `x`, never in bfloat16."""
    with full_precision(x):
        picture: Tensor = layer(x.to(layer.weight.dtype))
    return picture


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
    taps: int,  # SMOOTH or SOFT
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
            large: Tensor = _FirAdjoint.apply(x, SMOOTH, 1, 2, 4.0, (0, 0))  # type: ignore[no-untyped-call]
            return large
        return _fir_adjoint(x, SMOOTH, 1, 2, 4.0, (0, 0))


def minibatch_std(
    x: Tensor,  # [N, C, H, W]
    group: int = 4,  # samples compared with one another; all of them where the batch is smaller
    channels: int = 1,  # statistics appended as feature maps
) -> Tensor:
    """`x` with its deviation across each group appended: [N, C + channels, H, W] (Karras et al. 2017, section 3).

    Sample n belongs to group n mod (N / group), as in the original programs. A batch that `group` does not divide
    is compared in the largest groups that do.
    """
    n, c, h, w = x.shape
    size = max(k for k in range(1, min(group, n) + 1) if n % k == 0)
    y = x.reshape(size, -1, channels, c // channels, h, w)  # [size, groups, channels, C / channels, H, W]
    y = y - y.mean(0)
    y = (y.square().mean(0) + 1e-8).sqrt().mean([2, 3, 4])  # [groups, channels]
    y = y.repeat(size, 1)[:, :, None, None].expand(-1, -1, h, w)
    return torch.cat([x, y.to(x.dtype)], 1)
