"""The kernels of `gpukernels` on tensors: how many programs, and memory for what they leave. No gradient flows here.

Feature maps are [N, C, H, W], channels last in memory, float32 or bfloat16; pictures and sums are float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

ELEMENTS, FILTERED, LINES = 4096, 1024, 1024
"""Numbers that a program of a kernel makes at once; with 16 taps for each; and of pictures' lines."""
WARPS = 2
"""Groups of 32 threads of a program with 16 taps; measured on an H100, as are those numbers."""
LOOP = 8
"""Blocks of pixels that a program sums up."""


def filter_act(
    x: Tensor,  # [N, C, H, W]
    scale: Tensor | None = None,  # [N, C]; this and what follows is left out where it is None
    bias: Tensor | None = None,  # [C]
    noise: Tensor | None = None,  # [N, 1, Y, X], times
    strength: Tensor | None = None,  # []
    taps: int = 1,  # of the binomial filter: 1 for none, 3 or 4
    pad: int = 0,  # zeros on each side
    up: int = 1,  # 2: zeros between the pixels, and `pad` counts as a transposed convolution's
    down: int = 1,  # keep one pixel of so many
    gain: float = 1.0,  # sum of the filter
    size: tuple[int, int] | None = None,  # of the result, where `up` leaves a choice
    active: bool = False,  # leaky ReLU at the end
) -> Tensor:
    """lrelu(scale filter(x) + bias + strength noise): [N, C, Y, X]."""
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
        x,
        out,
        x if scale is None else scale,
        x if bias is None else bias,
        x if noise is None else noise,
        x if strength is None else strength,
        height,
        width,
        *size,
        c,
        pad,
        gain / 4.0 ** (taps - 1),
        TAPS=taps,
        UP=up,
        DOWN=down,
        SCALED=scale is not None,
        BIASED=bias is not None,
        NOISY=noise is not None,
        ACTIVE=active,
        PIXELS=pixels,
        CHANNELS=channels,
        num_warps=4 if taps == 1 else WARPS,
    )
    return out


def _blocks(channels: int, elements: int = ELEMENTS) -> tuple[int, int]:
    """Pixels and channels that a program takes at once, powers of two."""
    some = min(1 << (channels - 1).bit_length(), 64)
    return elements // some, some


def _summing(x: Tensor) -> tuple[tuple[int, int, int], tuple[int, int, int], dict[str, int]]:
    """For kernels that sum over the pixels of `x` in parts: programs; pixels, channels and parts; what each takes."""
    n, c, height, width = x.shape
    pixels, channels = _blocks(c)
    parts = -(-height * width // (pixels * LOOP))
    return (
        (parts, n, -(-c // channels)),
        (height * width, c, parts),
        {"LOOP": LOOP, "PIXELS": pixels, "CHANNELS": channels},
    )


def mix(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Colours float32 [N, K, H, W] of `x` [N, C, H, W] by weights [N or 1, K, C]."""
    from figment.nets import gpukernels

    (n, c, height, width), colours = x.shape, weight.shape[1]
    out = torch.empty((n, colours, height, width), device=x.device, memory_format=torch.channels_last)
    pixels, channels = _blocks(c)
    gpukernels.mix_channels[(-(-height * width // pixels), n)](
        x,
        weight,
        weight if bias is None else bias,
        out,
        height * width,
        c,
        OWN=int(len(weight) > 1),
        BIASED=bias is not None,
        COLOURS=colours,
        BLOCKS=-(-c // channels),
        PIXELS=pixels,
        CHANNELS=channels,
    )
    return out


def spread(
    picture: Tensor,  # float32 [N, K, H, W]
    weight: Tensor,  # float32 [N or 1, K, C]
    kind: torch.dtype,  # of the result
    bias: Tensor | None = None,  # [C]: add it, then a leaky ReLU; None for neither
    x: Tensor | None = None,  # [N, C, H, W] to be summed with the picture
) -> tuple[Tensor, Tensor]:
    """Channels [N, C, H, W] of a picture, and its sums with `x`, [N, K, C]."""
    from figment.nets import gpukernels

    (n, colours, height, width), c = picture.shape, weight.shape[2]
    out = torch.empty((n, c, height, width), dtype=kind, device=picture.device, memory_format=torch.channels_last)
    pixels, channels = _blocks(c)
    parts = -(-height * width // pixels)
    sums = torch.empty(0 if x is None else n, parts, colours, c, device=picture.device)
    gpukernels.spread_colours[(parts, n, -(-c // channels))](
        picture,
        weight,
        weight if bias is None else bias,
        out if x is None else x,
        out,
        sums,
        height * width,
        c,
        parts,
        OWN=int(len(weight) > 1),
        ACTIVE=bias is not None,
        SUMMED=x is not None,
        COLOURS=colours,
        PIXELS=pixels,
        CHANNELS=channels,
    )
    return out, sums.sum(1)


def act_backward(
    grad: Tensor, y: Tensor, scale: Tensor | None = None, noise: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """With g the gradient before the leaky ReLU: g scale, and sums over pixels [N, C] of g, g z and g noise."""
    from figment.nets import gpukernels

    back = torch.empty_like(y)
    grid, sizes, blocks = _summing(y)
    sums = torch.empty(1 + (scale is not None) + (noise is not None), len(y), sizes[2], y.shape[1], device=y.device)
    gpukernels.act_backward[grid](
        like(grad, y),
        y,
        y if scale is None else scale,
        y if noise is None else noise,
        back,
        sums[0],
        sums[min(1, len(sums) - 1)],
        sums[-1],
        *sizes,
        SCALED=scale is not None,
        NOISY=noise is not None,
        **blocks,
    )
    totals = sums.sum(2)
    return back, totals[0], None if scale is None else totals[1], None if noise is None else totals[-1]


def scale_backward(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of `x` and of what it was scaled by, [N, C]."""
    from figment.nets import gpukernels

    back = torch.empty_like(x)
    grid, sizes, blocks = _summing(x)
    sums = torch.empty(len(x), sizes[2], x.shape[1], device=x.device)
    gpukernels.scale_backward[grid](like(grad, x), x, scale, back, sums, *sizes, **blocks)
    return back, sums.sum(1)


def scale_twice(
    grad: Tensor, x: Tensor, y: Tensor | None, scale: Tensor, along: Tensor | None, along_scale: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `grad`, `x` and `scale`, given those of the gradients of `x` and `scale`; `y` after an lrelu."""
    from figment.nets import gpukernels

    along = torch.zeros_like(x) if along is None else like(along, x)
    along_scale = torch.zeros_like(scale) if along_scale is None else along_scale.contiguous()
    of_grad, of_x = torch.empty_like(x), torch.empty_like(x)
    grid, sizes, blocks = _summing(x)
    sums = torch.empty(len(x), sizes[2], x.shape[1], device=x.device)
    gpukernels.scale_twice[grid](
        like(grad, x),
        x,
        x if y is None else y,
        scale,
        along,
        along_scale,
        of_grad,
        of_x,
        sums,
        *sizes,
        ACTIVE=y is not None,
        **blocks,
    )
    return of_grad, of_x, sums.sum(1)


def like(grad: Tensor, x: Tensor) -> Tensor:
    """A gradient in the type and layout of what it belongs to."""
    return grad.to(x.dtype).contiguous(memory_format=torch.channels_last)


def filter_lines(
    x: Tensor,  # float32 [N, C, H, W]
    taps: Tensor,  # float32 [T], T even
    axis: int,  # 2 or 3: along which
    up: bool,  # to twice the resolution, or half of it
    offset: int,  # as in `gpukernels.filter_lines`
    places: int,  # of the result along that axis
) -> Tensor:
    """Rows or columns under a filter."""
    from figment.nets import gpukernels

    x = x.contiguous()
    out = x.new_empty([places if i == axis else length for i, length in enumerate(x.shape)])
    gpukernels.filter_lines[(-(-out.numel() // LINES),)](
        x,
        out,
        taps,
        x.shape[axis],
        places,
        x.shape[3] if axis == 2 else 1,
        out.numel(),
        offset,
        UP=up,
        TAPS=len(taps),
        BLOCK=LINES,
    )
    return out
