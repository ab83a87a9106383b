"""The work between convolutions, fused on a GPU: filter, scale, bias, noise, leaky ReLU; modulation; to and from RGB.

Training is bound by memory, and one by one these are ten passes over the feature maps per convolution. The plain path
is the reference with `upfirdn2d` for its filter. The kernels run if the backend is `fused`, there is no clamp, and they
can read the input; all of them differentiate twice if the backend says `double_backward`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from figment.nets.ops import triton_launch
from figment.nets.ops.backend import apply, apply_all, compute_dtype, current_backend, full_precision
from figment.nets.ops.conv2d import conv2d, conv2d_reference
from figment.nets.ops.triton_launch import Epilogue, Fir
from figment.nets.ops.upfirdn2d import upfirdn2d, upfirdn2d_reference

MAX_COLORS = 4
"""Most channels of an image that the RGB kernels take."""


def leaky_relu(
    x: Tensor,  # overwritten
    clamp: float | None = None,  # limit of the absolute value; None for no limit
) -> Tensor:
    """Apply a leaky ReLU of slope 0.2 in place, then clamp. Fold gains into what precedes it: f(g x) = g f(x)."""
    x = F.leaky_relu_(x, 0.2)
    return x if clamp is None else x.clamp(-clamp, clamp)


def _fuses(x: Tensor) -> bool:
    return current_backend().fused and triton_launch.reads(x)


# ---------------------------------------------------------------------- filter, scale, bias, noise, leaky ReLU


def filtered_lrelu_reference(
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
    """Compute `filtered_lrelu` with PyTorch's operations."""
    if taps > 1:
        x = upfirdn2d_reference(x, taps, padding=padding, gain=gain)
    return leaky_relu(_add_bias_and_noise(x, Epilogue(scale, bias, noise, noise_strength)), clamp)


def filtered_lrelu(
    x: Tensor,  # [N, C, H, W]
    bias: Tensor,  # float32 [C]
    *,
    scale: Tensor | None = None,  # float32 [N, C]; None for no scale
    noise: Tensor | None = None,  # float32 [1 or N, 1, Y, X] of the result's size; None for no noise
    noise_strength: Tensor | None = None,  # float32 []; needed with noise, ignored without
    taps: int = 1,  # of the binomial filter, FIR_121 or FIR_1331; 1 for no filter
    padding: int = 0,  # zeros on each side before the filter
    gain: float = 1.0,  # sum of the filter
    clamp: float | None = None,  # limit of the absolute result; None for no limit
) -> Tensor:
    """Return lrelu(scale * fir(x) + bias + noise_strength * noise), [N, C, Y, X] in the type of `x`.

    Raises ValueError for `noise` without `noise_strength`.
    """
    if noise is not None and noise_strength is None:
        raise ValueError("filtered_lrelu: noise needs noise_strength")
    epilogue, fir = Epilogue(scale, bias, noise, noise_strength), Fir(taps, padding, gain=gain)
    backend = current_backend()
    last = backend.channels_last or x.is_contiguous(memory_format=torch.channels_last)
    fused = backend.fused and last and clamp is None and triton_launch.kernels_run(x)

    # The fused filter differentiates only once.
    if taps > 1 and (backend.double_backward or not fused):
        x, fir = upfirdn2d(x, taps, padding=padding, gain=gain), Fir()
    if fused:
        return _fused(x, fir, epilogue)
    return leaky_relu(_add_bias_and_noise(x, epilogue), clamp)


def conv2d_lrelu_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int = 1,
    padding: int = 0,
    clamp: float | None = None,
) -> Tensor:
    """Compute `conv2d_lrelu` with PyTorch's operations."""
    return leaky_relu(conv2d_reference(x, weight, bias, stride, padding), clamp)


def conv2d_lrelu(
    x: Tensor,  # [N, C, H, W]
    weight: Tensor,  # float32 [K, C, h, w]
    bias: Tensor | None,  # float32 [K]; None for no bias
    stride: int = 1,
    padding: int = 0,
    clamp: float | None = None,  # limit of the absolute result; None for no limit
) -> Tensor:
    """Return lrelu(weight * x + bias), a convolution and what follows it: [N, K, Y, X] in the compute dtype of `x`."""
    if bias is None or clamp is not None or not _fuses(x):
        return leaky_relu(conv2d(x, weight, bias, stride, padding), clamp)
    pointwise = weight.shape[2:] == (1, 1) and (stride, padding) == (1, 0)
    if pointwise and x.shape[1] <= MAX_COLORS and not current_backend().double_backward:
        return _from_rgb(x, weight[:, :, 0, 0], bias)
    return _fused(conv2d(x, weight, None, stride, padding), Fir(), Epilogue(bias=bias))


def _add_bias_and_noise(x: Tensor, epilogue: Epilogue) -> Tensor:
    """Return scale * x + bias + noise_strength * noise, a new tensor in the type of `x`."""
    scale, bias = epilogue.scale, epilogue.bias
    if bias is not None:
        bias = bias.to(x.dtype)[None, :, None, None]
        x = x + bias if scale is None else torch.addcmul(bias, x, scale.to(x.dtype)[:, :, None, None])
    if epilogue.noise is not None and epilogue.noise_strength is not None:
        x = x + (epilogue.noise * epilogue.noise_strength).to(x.dtype)
    return x


def _fused(x: Tensor, fir: Fir, epilogue: Epilogue) -> Tensor:
    noise = None if epilogue.noise is None else epilogue.noise.expand(len(x), -1, -1, -1).contiguous()
    x = x.contiguous(memory_format=torch.channels_last)  # convolutions need not keep the layout
    strength = None if noise is None else epilogue.noise_strength
    twice = current_backend().double_backward
    return apply(_FilteredLrelu, x, epilogue.bias, epilogue.scale, noise, strength, fir, twice)


class _FilteredLrelu(torch.autograd.Function):
    """The kernel of `filtered_lrelu`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bias: Tensor,
        scale: Tensor | None,
        noise: Tensor | None,
        strength: Tensor | None,
        fir: Fir,
        twice: bool,  # keep what a second derivative needs
    ) -> Tensor:
        y = triton_launch.filtered_lrelu(x, fir, Epilogue(scale, bias, noise, strength, lrelu=True))
        ctx.save_for_backward(x if twice and scale is not None else None, y, bias, scale, noise, strength)
        ctx.fir = fir
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, bias, scale, noise, strength = ctx.saved_tensors
        fir: Fir = ctx.fir
        grad_x, grad_bias, grad_scale, grad_strength = apply_all(
            _FilteredLreluGradient,
            grad,
            x,
            scale,
            y,
            bias.detach(),
            noise,
            None if strength is None else strength.detach(),
        )
        if grad_x is not None and fir.taps > 1:
            grad_x = upfirdn2d(grad_x, fir.taps, padding=fir.taps - 1 - fir.padding, gain=fir.gain)
        return grad_x, grad_bias, grad_scale, None, grad_strength, None, None


class _FilteredLreluGradient(torch.autograd.Function):
    """The gradients of `_FilteredLrelu` without its filter: of x, bias, scale and noise strength."""

    @staticmethod
    def forward(
        ctx: Any,
        grad: Tensor,
        x: Tensor | None,
        scale: Tensor | None,
        y: Tensor,
        bias: Tensor,
        noise: Tensor | None,
        strength: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(grad, x, scale, y)
        ctx.set_materialize_grads(False)
        grad_x, g, gz, g_noise = triton_launch.lrelu_backward(grad, y, scale, noise)

        # sum(g z) = sum(g scale x) + sum(g) bias + sum(g noise) strength gives the gradient of scale, sum(g x).
        grad_scale = None
        if gz is not None and scale is not None:
            rest = gz - g * bias
            grad_scale = (rest if g_noise is None or strength is None else rest - g_noise * strength) / scale
        return grad_x, g.sum(0), grad_scale, None if g_noise is None else g_noise.sum()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad2_x: Tensor | None, grad2_bias: None, grad2_scale: Tensor | None, grad2_strength: None
    ) -> tuple[Tensor | None, ...]:
        grad, x, scale, y = ctx.saved_tensors
        if x is None and scale is not None:
            raise RuntimeError("filtered_lrelu is differentiated twice: run it with Backend(double_backward=True)")
        if grad2_bias is not None or grad2_strength is not None:
            raise RuntimeError("filtered_lrelu: gradients of bias and noise strength are not differentiable")
        if scale is None:
            return None if grad2_x is None else triton_launch.lrelu_backward(grad2_x, y)[0], *[None] * 6
        return *triton_launch.modulate_double_backward(grad, x, y, scale, grad2_x, grad2_scale), *[None] * 4


# ---------------------------------------------------------------------- modulation


def modulate_reference(x: Tensor, style: Tensor) -> Tensor:
    """Compute `modulate` with PyTorch's operations."""
    return x * style.to(x.dtype)[:, :, None, None]


def modulate(
    x: Tensor,  # [N, C, H, W]
    style: Tensor,  # float32 [N, C]
) -> Tensor:
    """Return each feature map multiplied with its entry of `style`, [N, C, H, W] in the type of `x`."""
    return apply(_Modulate, x, style) if _fuses(x) else modulate_reference(x, style)


class _Modulate(torch.autograd.Function):
    """The kernel of `modulate`, differentiable twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return triton_launch.filtered_lrelu(x, Fir(), Epilogue(scale=scale))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return apply_all(_ModulateGradient, grad, *ctx.saved_tensors)


class _ModulateGradient(torch.autograd.Function):
    """The gradients of `_Modulate`: of x and scale."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(grad, x, scale)
        ctx.set_materialize_grads(False)
        return triton_launch.modulate_backward(grad, x, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad2_x: Tensor | None, grad2_scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        grad, x, scale = ctx.saved_tensors
        return triton_launch.modulate_double_backward(grad, x, None, scale, grad2_x, grad2_scale)


# ---------------------------------------------------------------------- to and from RGB


def to_rgb_reference(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor, clamp: float | None = None) -> Tensor:
    """Compute `to_rgb` with PyTorch's operations."""
    with full_precision(x):
        rgb = conv2d_reference(modulate_reference(x.to(weight.dtype), style), weight, bias)
    return rgb if clamp is None else rgb.clamp(-clamp, clamp)


def to_rgb(
    x: Tensor,  # [N, C, H, W]
    weight: Tensor,  # float32 [K, C, 1, 1]
    style: Tensor,  # float32 [N, C], multiplied with the channels of `x`
    bias: Tensor,  # float32 [K]
    clamp: float | None = None,  # limit of the absolute result; None for no limit
) -> Tensor:
    """Return a modulated 1x1 convolution without demodulation, [N, K, H, W] in the type of `weight`, no autocast."""
    with full_precision(x):
        if clamp is None and len(weight) <= MAX_COLORS and _fuses(x):
            return apply(_ToRgb, x, (weight[:, :, 0, 0] * style[:, None]).contiguous(), bias)
        rgb = conv2d(modulate_reference(x.to(weight.dtype), style), weight, bias)
    return rgb if clamp is None else rgb.clamp(-clamp, clamp)


class _ToRgb(torch.autograd.Function):
    """The kernel of `to_rgb` with weights [N, K, C] and bias [K], differentiable twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return triton_launch.to_rgb(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad = grad.float().contiguous(memory_format=torch.channels_last)
        grad_x, grad_weight = apply_all(_ToRgbGradient, grad, *ctx.saved_tensors)
        return grad_x, grad_weight, grad.sum([0, 2, 3])


class _ToRgbGradient(torch.autograd.Function):
    """The gradients of `_ToRgb`: of x and weight."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(grad, x, weight)
        return triton_launch.from_rgb(grad, weight, x.dtype, x=x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad2_x: Tensor, grad2_weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grad, x, weight = ctx.saved_tensors
        grad2_x, grad2_weight = triton_launch.cast_like(grad2_x, x), grad2_weight.contiguous()
        grad_x, grad_weight = triton_launch.from_rgb(grad, grad2_weight, x.dtype, x=grad2_x)
        grad_grad = triton_launch.to_rgb(grad2_x, weight, None) + triton_launch.to_rgb(x, grad2_weight, None)
        return grad_grad, grad_x, grad_weight


def _from_rgb(
    image: Tensor,  # [N, K, H, W], K <= 4
    weight: Tensor,  # float32 [C, K]
    bias: Tensor,  # float32 [C]
) -> Tensor:
    """Return lrelu(weight image + bias), [N, C, H, W] in the compute dtype of the image; differentiable only once."""
    dtype = compute_dtype(image)
    return apply(_FromRgb, image.float().contiguous(memory_format=torch.channels_last), weight, bias, dtype)


class _FromRgb(torch.autograd.Function):
    """The kernel of a 1x1 convolution from RGB with its leaky ReLU."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        weight = weight.t()[None].contiguous()  # [1, K, C]
        y, _ = triton_launch.from_rgb(image, weight, dtype, bias)
        ctx.save_for_backward(image, weight, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        image, weight, y = ctx.saved_tensors
        grad_y, sums, _, _ = triton_launch.lrelu_backward(grad, y)
        grad_image, grad_weight = None, None
        if ctx.needs_input_grad[0]:
            grad_image = triton_launch.to_rgb(grad_y, weight, None)
        if ctx.needs_input_grad[1]:
            grad_weight = triton_launch.from_rgb(image, weight, y.dtype, x=grad_y)[1].sum(0).t()
        return grad_image, grad_weight, sums.sum(0), None
