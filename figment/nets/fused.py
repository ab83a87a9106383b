"""What lies between convolutions in one go on a GPU, with Triton: filter, scale, bias, noise, leaky ReLU; colours.

    with fused_layers():         # inside, layers take these ways where they can
        loss = generator_loss(d(g.synthesis(w)))
    loss.backward()

A training step is bound by memory: done one by one these are ten passes over feature maps for each convolution. Without
Triton and on a CPU layers take their ordinary ways. What is differentiated twice, as R1 and path length are, says so
(`twice`), for it needs more kept. `filtered` is linear and its own kind of derivative, so it serves everywhere.
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

_on, _twice = False, False
ELEMENTS, FILTERED, LINES = 4096, 1024, 1024
"""Numbers that a program of a kernel makes at once; with 16 taps for each; and of pictures' lines."""
WARPS = 2
"""Groups of 32 threads of a program with 16 taps; measured on an H100, as are those numbers."""
COLOURS = 4
"""The most channels of a picture."""
LOOP = 8
"""Blocks of pixels that a program sums up."""


@contextmanager
def fused_layers(
    on: bool = True,
    twice: bool = False,    # what is done inside must be differentiable twice
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
    return (x.is_cuda and x.dtype in (torch.float32, torch.bfloat16)
            and x.is_contiguous(memory_format=torch.channels_last) and _triton_works(x.device))


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
        say("training is several times as fast on this GPU with Triton and a C compiler (gcc), of which one is missing")
        return False
    try:
        _filter_act(torch.zeros(1, 8, 4, 4, device=device).contiguous(memory_format=torch.channels_last), taps=4, pad=1)
    except Exception as error:
        say(f"going on without Triton's kernels, which fail here: {str(error).splitlines()[0]}")
        return False
    return True


# ---------------------------------------------------------------------- the kernels' callers


def filtered(
    x: Tensor,                            # [N, C, H, W] that `fits`
    taps: int,
    pad: int,                             # zeros on each side
    up: int = 1,                          # 2: zeros between the pixels, and `pad` counts as a transposed convolution's
    down: int = 1,
    gain: float = 1.0,
    size: tuple[int, int] | None = None,  # of the result, where `up` leaves a choice
) -> Tensor:
    """`x` under the binomial filter of sum `gain`: [N, C, Y, X]. No gradient flows through it."""
    return _filter_act(x, taps=taps, pad=pad, up=up, down=down, gain=gain, size=size)


def _filter_act(
    x: Tensor,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    noise: Tensor | None = None,
    strength: Tensor | None = None,
    taps: int = 1,
    pad: int = 0,
    up: int = 1,
    down: int = 1,
    gain: float = 1.0,
    size: tuple[int, int] | None = None,
    active: bool = False,
) -> Tensor:
    from figment.nets import gpukernels

    n, c, height, width = x.shape
    if size is None:
        spread = (2 * height - 1, 2 * width - 1) if up == 2 else (height, width)
        border = 2 * (taps - 1 - pad) if up == 2 else 2 * pad
        size = ((spread[0] + border - taps) // down + 1, (spread[1] + border - taps) // down + 1)
    out = torch.empty((n, c, *size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    pixels, channels = _blocks(c, ELEMENTS if taps == 1 else FILTERED)
    grid = (-(-size[0] * size[1] // pixels), n, -(-c // channels))
    gpukernels.filter_act[grid](
        x, out, x if scale is None else scale, x if bias is None else bias, x if noise is None else noise,
        x if strength is None else strength, height, width, *size, c, pad, gain / 4.0 ** (taps - 1), TAPS=taps, UP=up,
        DOWN=down, SCALED=scale is not None, BIASED=bias is not None, NOISY=noise is not None, ACTIVE=active,
        PIXELS=pixels, CHANNELS=channels, num_warps=4 if taps == 1 else WARPS)
    return out


def _blocks(channels: int, elements: int = ELEMENTS) -> tuple[int, int]:
    """Pixels and channels that a program takes at once, powers of two."""
    some = min(1 << (channels - 1).bit_length(), 64)
    return elements // some, some


def _mix(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Colours float32 [N, K, H, W] of `x` [N, C, H, W] by weights [N or 1, K, C]."""
    from figment.nets import gpukernels

    (n, c, height, width), colours = x.shape, weight.shape[1]
    out = torch.empty((n, colours, height, width), device=x.device, memory_format=torch.channels_last)
    pixels, channels = _blocks(c)
    gpukernels.mix_channels[(-(-height * width // pixels), n)](
        x, weight, weight if bias is None else bias, out, height * width, c, OWN=int(len(weight) > 1),
        BIASED=bias is not None, COLOURS=colours, BLOCKS=-(-c // channels), PIXELS=pixels, CHANNELS=channels)
    return out


def _spread(
    picture: Tensor,              # float32 [N, K, H, W]
    weight: Tensor,               # float32 [N or 1, K, C]
    kind: torch.dtype,            # of the result
    bias: Tensor | None = None,   # [C]: add it, then a leaky ReLU; None for neither
    x: Tensor | None = None,      # [N, C, H, W] to be summed with the picture
) -> tuple[Tensor, Tensor]:
    """Channels [N, C, H, W] of a picture, and its sums with `x`, [N, K, C]."""
    from figment.nets import gpukernels

    (n, colours, height, width), c = picture.shape, weight.shape[2]
    out = torch.empty((n, c, height, width), dtype=kind, device=picture.device, memory_format=torch.channels_last)
    pixels, channels = _blocks(c)
    parts = -(-height * width // pixels)
    sums = torch.empty(0 if x is None else n, parts, colours, c, device=picture.device)
    gpukernels.spread_colours[(parts, n, -(-c // channels))](
        picture, weight, weight if bias is None else bias, out if x is None else x, out, sums, height * width, c, parts,
        OWN=int(len(weight) > 1), ACTIVE=bias is not None, SUMMED=x is not None, COLOURS=colours, PIXELS=pixels,
        CHANNELS=channels)
    return out, sums.sum(1)


def _act_backward(
    grad: Tensor, y: Tensor, scale: Tensor | None = None, noise: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """With g the gradient before the leaky ReLU: g scale, and sums over pixels [N, C] of g, g z and g noise."""
    from figment.nets import gpukernels

    n, c, height, width = y.shape
    grad, back = _like(grad, y), torch.empty_like(y)
    pixels, channels = _blocks(c)
    parts = -(-height * width // (pixels * LOOP))
    sums = torch.empty(1 + (scale is not None) + (noise is not None), n, parts, c, device=y.device)
    gpukernels.act_backward[(parts, n, -(-c // channels))](
        grad, y, y if scale is None else scale, y if noise is None else noise, back, sums[0],
        sums[min(1, len(sums) - 1)], sums[-1], height * width, c, parts, SCALED=scale is not None,
        NOISY=noise is not None, LOOP=LOOP, PIXELS=pixels, CHANNELS=channels)
    totals = sums.sum(2)
    return back, totals[0], None if scale is None else totals[1], None if noise is None else totals[-1]


def _scale_backward(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of `x` and of what it was scaled by, [N, C]."""
    from figment.nets import gpukernels

    n, c, height, width = x.shape
    grad, back = _like(grad, x), torch.empty_like(x)
    pixels, channels = _blocks(c)
    parts = -(-height * width // (pixels * LOOP))
    sums = torch.empty(n, parts, c, device=x.device)
    gpukernels.scale_backward[(parts, n, -(-c // channels))](
        grad, x, scale, back, sums, height * width, c, parts, LOOP=LOOP, PIXELS=pixels, CHANNELS=channels)
    return back, sums.sum(1)


def _scale_twice(
    grad: Tensor, x: Tensor, y: Tensor | None, scale: Tensor, along: Tensor | None, along_scale: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `grad`, `x` and `scale`, given those of the gradients of `x` and `scale`; `y` after an lrelu."""
    from figment.nets import gpukernels

    n, c, height, width = x.shape
    along = torch.zeros_like(x) if along is None else _like(along, x)
    along_scale = torch.zeros_like(scale) if along_scale is None else along_scale.contiguous()
    of_grad, of_x = torch.empty_like(x), torch.empty_like(x)
    pixels, channels = _blocks(c)
    parts = -(-height * width // (pixels * LOOP))
    sums = torch.empty(n, parts, c, device=x.device)
    gpukernels.scale_twice[(parts, n, -(-c // channels))](
        _like(grad, x), x, x if y is None else y, scale, along, along_scale, of_grad, of_x, sums, height * width, c,
        parts, ACTIVE=y is not None, LOOP=LOOP, PIXELS=pixels, CHANNELS=channels)
    return of_grad, of_x, sums.sum(1)


def _like(grad: Tensor, x: Tensor) -> Tensor:
    """A gradient in the type and layout of what it belongs to."""
    return grad.to(x.dtype).contiguous(memory_format=torch.channels_last)


def filtered_lines(
    x: Tensor,              # float32 [N, C, H, W], contiguous, on a GPU
    taps: Tensor,           # float32 [T], T even
    axis: int,              # 2 or 3: along which
    up: bool,               # to twice the resolution, or half of it
    offset: int,            # as in `gpukernels.filter_lines`
    places: int,            # of the result along that axis
) -> Tensor:
    """Rows or columns under a filter, differentiable any number of times."""
    done: Tensor = _Lines.apply(x, taps, axis, up, offset, places)  # type: ignore[no-untyped-call]
    return done


class _Lines(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor, axis: int, up: bool, offset: int, places: int) -> Tensor:
        from figment.nets import gpukernels

        ctx.save_for_backward(taps)
        ctx.rest = (axis, not up, offset, x.shape[axis])
        x = x.contiguous()
        out = x.new_empty([places if i == axis else length for i, length in enumerate(x.shape)])
        gpukernels.filter_lines[(-(-out.numel() // LINES),)](
            x, out, taps, x.shape[axis], places, x.shape[3] if axis == 2 else 1, out.numel(), offset, UP=up,
            TAPS=len(taps), BLOCK=LINES)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        back = _Lines.apply(grad, ctx.saved_tensors[0], *ctx.rest)  # type: ignore[no-untyped-call]
        return back, None, None, None, None, None


# ---------------------------------------------------------------------- filter, scale, bias, noise, leaky ReLU


def filter_act(
    x: Tensor,                            # [N, C, H, W]
    bias: Tensor,                         # [C]
    scale: Tensor | None = None,          # [N, C]
    noise: Tensor | None = None,          # [1 or N, 1, H, W] of the result's size, and
    strength: Tensor | None = None,       # [] what it is multiplied with
    taps: int = 1,                        # filter first where above 1, but not `twice`, with
    pad: int = 0,                         # zeros around, and
    gain: float = 1.0,                    # this sum
) -> Tensor:
    """lrelu(scale filter(x) + bias + strength noise), [N, C, Y, X]."""
    if noise is not None:
        noise = noise.expand(len(x), -1, -1, -1).contiguous()
    done: Tensor = _FilterAct.apply(  # type: ignore[no-untyped-call]
        x, bias, scale, noise, strength, taps, pad, gain)
    return done


class _FilterAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor, scale: Tensor | None, noise: Tensor | None, strength: Tensor | None,
        taps: int, pad: int, gain: float,
    ) -> Tensor:
        y = _filter_act(x, scale, bias, noise, strength, taps, pad, gain=gain, active=True)
        ctx.save_for_backward(x if _twice and scale is not None else None, y, bias, scale, noise, strength)
        ctx.rest = (taps, taps - 1 - pad, gain, (x.shape[2], x.shape[3]))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, bias, scale, noise, strength = ctx.saved_tensors
        taps, pad, gain, size = ctx.rest
        back, of_bias, of_scale, of_strength = _FilterActGrad.apply(  # type: ignore[no-untyped-call]
            grad, x, scale, y, bias.detach(), noise, None if strength is None else strength.detach())
        if taps > 1:
            back = filtered(back, taps, pad, gain=gain, size=size)
        return back, of_bias, of_scale, None, of_strength, None, None, None


class _FilterActGrad(torch.autograd.Function):
    """Without the filter."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, x: Tensor | None, scale: Tensor | None, y: Tensor, bias: Tensor, noise: Tensor | None,
        strength: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(grad, x, scale, y)
        ctx.set_materialize_grads(False)
        back, g, gz, gnoise = _act_backward(grad, y, scale, noise)

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
            return None if along is None else _act_backward(along, y)[0], *[None] * 6
        return *_scale_twice(grad, x, y, scale, along, along_scale), *[None] * 4


# ---------------------------------------------------------------------- scale


def scaled(x: Tensor, scale: Tensor) -> Tensor:
    """Feature maps `x` [N, C, H, W], each multiplied with its entry of `scale`, float32 [N, C]."""
    done: Tensor = _Scaled.apply(x, scale)  # type: ignore[no-untyped-call]
    return done


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return _filter_act(x, scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gradients: tuple[Tensor, Tensor] = _ScaledGrad.apply(grad, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return gradients


class _ScaledGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(grad, x, scale)
        ctx.set_materialize_grads(False)
        return _scale_backward(grad, x, scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, along: Tensor | None, along_scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        grad, x, scale = ctx.saved_tensors
        return _scale_twice(grad, x, None, scale, along, along_scale)


# ---------------------------------------------------------------------- channels to colours and back


def mixed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Colours, float32 [N, K, H, W], of feature maps `x` [N, C, H, W] by weights [N, K, C] and `bias` [K]; K <= 4."""
    done: Tensor = _Mixed.apply(x, weight.contiguous(), bias)  # type: ignore[no-untyped-call]
    return done


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _mix(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grad = grad.float().contiguous(memory_format=torch.channels_last)
        of_x, of_weight = _MixedGrad.apply(grad, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return of_x, of_weight, grad.sum([0, 2, 3])


class _MixedGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(grad, x, weight)
        return _spread(grad, weight, x.dtype, x=x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, along: Tensor, along_weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grad, x, weight = ctx.saved_tensors
        along, along_weight = _like(along, x), along_weight.contiguous()
        of_x, of_weight = _spread(grad, along_weight, x.dtype, x=along)
        return _mix(along, weight, None) + _mix(x, along_weight, None), of_x, of_weight


def spread(
    picture: Tensor,              # float32 [N, K, H, W], K <= 4
    weight: Tensor,               # [C, K]
    bias: Tensor,                 # [C]
    kind: torch.dtype,            # of the result
) -> Tensor:
    """lrelu(weight picture + bias), [N, C, H, W]; differentiable once only."""
    picture = picture.float().contiguous(memory_format=torch.channels_last)
    done: Tensor = _Spread.apply(picture, weight, bias, kind)  # type: ignore[no-untyped-call]
    return done


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, picture: Tensor, weight: Tensor, bias: Tensor, kind: torch.dtype) -> Tensor:
        weight = weight.t()[None].contiguous()                       # [1, K, C]
        y, _ = _spread(picture, weight, kind, bias)
        ctx.save_for_backward(picture, weight, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        picture, weight, y = ctx.saved_tensors
        back, sums, _, _ = _act_backward(grad, y)
        of_picture = _mix(back, weight, None) if ctx.needs_input_grad[0] else None
        of_weight = _spread(picture, weight, y.dtype, x=back)[1].sum(0).t() if ctx.needs_input_grad[1] else None
        return of_picture, of_weight, sums.sum(0), None
