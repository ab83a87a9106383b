"""What lies between convolutions in one go on a GPU, with Triton: filter, scale, bias, noise, leaky ReLU; colours.

    with fused_layers():         # inside, layers take these ways where they can
        loss = generator_loss(d(g.synthesis(w)))
    loss.backward()

A training step is bound by memory: done one by one these are ten passes over feature maps for each convolution. Without
Triton and on a CPU layers take their ordinary ways. What is differentiated twice, as R1 and path length are, says so
(`twice`), for it needs more kept. Filters are linear and each other's derivatives: they take the kernels everywhere.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from figment.nets import launch

_on, _twice = False, False
COLOURS = 4
"""The most channels of a picture."""


@contextmanager
def fused_layers(
    on: bool = True,
    twice: bool = False,  # what is done inside must be differentiable twice
) -> Iterator[None]:
    """Inside, networks on a GPU take the fused ways."""
    global _on, _twice
    before = _on, _twice
    _on, _twice = on, twice
    try:
        yield
    finally:
        _on, _twice = before


def fuses(x: Tensor) -> bool:
    """Whether layers take the fused ways for feature maps `x` now."""
    return _on and fits(x)


def fuses_once(x: Tensor) -> bool:
    """Whether they take those too that are differentiable once only."""
    return fuses(x) and not _twice


def fits(x: Tensor) -> bool:
    """Whether the kernels can read `x`: on a GPU, channels last, float32 or bfloat16."""
    return (
        x.is_cuda
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.is_contiguous(memory_format=torch.channels_last)
        and _triton_works(x.device)
    )


def fits_lines(x: Tensor) -> bool:
    """Whether `filtered_lines` takes `x`."""
    return x.is_cuda and x.dtype == torch.float32 and _triton_works(x.device)


@functools.cache
def _triton_works(device: torch.device) -> bool:
    """Whether Triton is there and compiles, which is told once where it does not: it needs Nvidia's Volta or later."""
    from figment.base.progress import say

    if torch.cuda.get_device_capability(device) < (7, 0):
        return False
    if find_spec("triton") is None or not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        say("training is faster on this GPU with Triton and a C compiler (gcc), of which one is missing")
        return False
    try:
        trial = torch.zeros(1, 8, 4, 4, device=device)
        launch.filter_act(trial.contiguous(memory_format=torch.channels_last), taps=4, pad=1)
    except Exception as error:
        say(f"going on without Triton's kernels, which fail here: {(str(error) or repr(error)).splitlines()[0]}")
        return False
    return True


def filtered_lines(
    x: Tensor,  # float32 [N, C, H, W], contiguous, on a GPU
    taps: Tensor,  # float32 [T], T even
    axis: int,  # 2 or 3: along which
    up: bool,  # to twice the resolution, or half of it
    offset: int,  # as in `gpukernels.filter_lines`
    places: int,  # of the result along that axis
) -> Tensor:
    """Rows or columns under a filter, differentiable any number of times."""
    done: Tensor = _Lines.apply(x, taps, axis, up, offset, places)  # type: ignore[no-untyped-call]
    return done


class _Lines(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor, axis: int, up: bool, offset: int, places: int) -> Tensor:
        ctx.save_for_backward(taps)
        ctx.rest = (axis, not up, offset, x.shape[axis])
        return launch.filter_lines(x, taps, axis, up, offset, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        back = _Lines.apply(grad, ctx.saved_tensors[0], *ctx.rest)  # type: ignore[no-untyped-call]
        return back, None, None, None, None, None


# ---------------------------------------------------------------------- filter, scale, bias, noise, leaky ReLU


def filter_act(
    x: Tensor,  # [N, C, H, W]
    bias: Tensor,  # [C]
    scale: Tensor | None = None,  # [N, C]
    noise: Tensor | None = None,  # [1 or N, 1, H, W] of the result's size, and
    strength: Tensor | None = None,  # [] what it is multiplied with
    taps: int = 1,  # filter first where above 1, but not `twice`, with
    pad: int = 0,  # zeros around, and
    gain: float = 1.0,  # this sum
) -> Tensor:
    """lrelu(scale filter(x) + bias + strength noise), [N, C, Y, X]."""
    if noise is not None:
        noise = noise.expand(len(x), -1, -1, -1).contiguous()
    x = x.contiguous(memory_format=torch.channels_last)  # as a convolution leaves it, but need not
    done: Tensor = _FilterAct.apply(  # type: ignore[no-untyped-call]
        x, bias, scale, noise, strength, taps, pad, gain
    )
    return done


class _FilterAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bias: Tensor,
        scale: Tensor | None,
        noise: Tensor | None,
        strength: Tensor | None,
        taps: int,
        pad: int,
        gain: float,
    ) -> Tensor:
        y = launch.filter_act(x, scale, bias, noise, strength, taps, pad, gain=gain, active=True)
        ctx.save_for_backward(x if _twice and scale is not None else None, y, bias, scale, noise, strength)
        ctx.rest = (taps, taps - 1 - pad, gain, (x.shape[2], x.shape[3]))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, bias, scale, noise, strength = ctx.saved_tensors
        taps, pad, gain, size = ctx.rest
        back, of_bias, of_scale, of_strength = _FilterActGrad.apply(  # type: ignore[no-untyped-call]
            grad, x, scale, y, bias.detach(), noise, None if strength is None else strength.detach()
        )
        if taps > 1:
            back = launch.filter_act(back, taps=taps, pad=pad, gain=gain, size=size)
        return back, of_bias, of_scale, None, of_strength, None, None, None


class _FilterActGrad(torch.autograd.Function):
    """Without the filter."""

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
        back, g, gz, gnoise = launch.act_backward(grad, y, scale, noise)

        # The sum of g z is that of g scale x, of g bias and of g noise strength.
        of_scale = None
        if gz is not None and scale is not None:
            rest = gz - g * bias
            of_scale = (rest if gnoise is None or strength is None else rest - gnoise * strength) / scale
        return back, g.sum(0), of_scale, None if gnoise is None else gnoise.sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, along: Tensor | None, of_bias: None, along_scale: Tensor | None, of_strength: None
    ) -> tuple[Tensor | None, ...]:
        grad, x, scale, y = ctx.saved_tensors
        assert of_bias is None and of_strength is None and (x is not None or scale is None), "not differentiable twice"
        if scale is None:
            return None if along is None else launch.act_backward(along, y)[0], *[None] * 6
        return *launch.scale_twice(grad, x, y, scale, along, along_scale), *[None] * 4


# ---------------------------------------------------------------------- scale


def scaled(x: Tensor, scale: Tensor) -> Tensor:
    """Feature maps `x` [N, C, H, W], each multiplied with its entry of `scale`, float32 [N, C]."""
    done: Tensor = _Scaled.apply(x, scale)  # type: ignore[no-untyped-call]
    return done


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return launch.filter_act(x, scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gradients: tuple[Tensor, Tensor] = _ScaledGrad.apply(grad, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return gradients


class _ScaledGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(grad, x, scale)
        ctx.set_materialize_grads(False)
        return launch.scale_backward(grad, x, scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, along: Tensor | None, along_scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        grad, x, scale = ctx.saved_tensors
        return launch.scale_twice(grad, x, None, scale, along, along_scale)


# ---------------------------------------------------------------------- channels to colours and back


def mixed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Colours, float32 [N, K, H, W], of feature maps `x` [N, C, H, W] by weights [N, K, C] and `bias` [K]; K <= 4."""
    done: Tensor = _Mixed.apply(x, weight.contiguous(), bias)  # type: ignore[no-untyped-call]
    return done


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return launch.mix(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grad = grad.float().contiguous(memory_format=torch.channels_last)
        of_x, of_weight = _MixedGrad.apply(grad, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return of_x, of_weight, grad.sum([0, 2, 3])


class _MixedGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(grad, x, weight)
        return launch.spread(grad, weight, x.dtype, x=x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, along: Tensor, along_weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grad, x, weight = ctx.saved_tensors
        along, along_weight = launch.like(along, x), along_weight.contiguous()
        of_x, of_weight = launch.spread(grad, along_weight, x.dtype, x=along)
        return launch.mix(along, weight, None) + launch.mix(x, along_weight, None), of_x, of_weight


def spread(
    picture: Tensor,  # float32 [N, K, H, W], K <= 4
    weight: Tensor,  # [C, K]
    bias: Tensor,  # [C]
    kind: torch.dtype,  # of the result
) -> Tensor:
    """lrelu(weight picture + bias), [N, C, H, W]; differentiable once only."""
    picture = picture.float().contiguous(memory_format=torch.channels_last)
    done: Tensor = _Spread.apply(picture, weight, bias, kind)  # type: ignore[no-untyped-call]
    return done


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, picture: Tensor, weight: Tensor, bias: Tensor, kind: torch.dtype) -> Tensor:
        weight = weight.t()[None].contiguous()  # [1, K, C]
        y, _ = launch.spread(picture, weight, kind, bias)
        ctx.save_for_backward(picture, weight, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        picture, weight, y = ctx.saved_tensors
        back, sums, _, _ = launch.act_backward(grad, y)
        of_picture = launch.mix(back, weight, None) if ctx.needs_input_grad[0] else None
        of_weight = launch.spread(picture, weight, y.dtype, x=back)[1].sum(0).t() if ctx.needs_input_grad[1] else None
        return of_picture, of_weight, sums.sum(0), None
