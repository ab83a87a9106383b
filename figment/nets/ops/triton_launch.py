"""Launch the Triton kernels on tensors: grid, block sizes and memory for the results. No gradient flows here.

Feature maps are [N, C, H, W], channels last in memory, float32 or bfloat16; images and sums are float32.

FIGMENT_INTERPRET_KERNELS=1 runs the kernels on CPU tensors too, in Triton's interpreter: slow, for tests. Set
TRITON_INTERPRET=1 as well before Triton is imported.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor

ELEMENTS = 4096
"""Output values per program of a kernel."""
FIR_ELEMENTS = 1024
"""Output values per program of a kernel that filters."""
LINE_ELEMENTS = 1024
"""Output values per program of `filter_lines`."""
FIR_WARPS = 2
"""Warps per program of a kernel that filters. These four numbers were fastest on an H100."""
LOOP = 8
"""Blocks of pixels that a program sums."""

log = logging.getLogger(__name__)


# ---------------------------------------------------------------------- when the kernels run


def kernels_run(x: Tensor) -> bool:
    """Return whether the kernels run on the type and device of `x`; see `reads` for its layout."""
    if x.dtype not in (torch.float32, torch.bfloat16):
        return False
    return _triton_works(x.device) if x.is_cuda else interprets()


def reads(x: Tensor) -> bool:
    """Return whether the kernels can read `x` [N, C, H, W] as it is: channels last, on a device that runs them."""
    return kernels_run(x) and x.is_contiguous(memory_format=torch.channels_last)


def interprets() -> bool:
    """Return whether FIGMENT_INTERPRET_KERNELS=1 makes the kernels run on CPU tensors."""
    return os.environ.get("FIGMENT_INTERPRET_KERNELS") == "1"


@functools.cache
def _triton_works(device: torch.device) -> bool:
    """Return whether Triton compiles for this GPU (Nvidia's Volta or later), and log once if it does not."""
    if torch.cuda.get_device_capability(device) < (7, 0):
        return False
    if find_spec("triton") is None or not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        log.warning("training is faster on this GPU with Triton and a C compiler (gcc), and one of them is missing")
        return False
    try:
        x = torch.zeros(1, 8, 4, 4, device=device)
        filtered_lrelu(x.contiguous(memory_format=torch.channels_last), Fir(taps=4, padding=1))
    except Exception as error:  # whatever a compiler may raise
        log.warning("continuing without Triton kernels: %s", (str(error) or repr(error)).splitlines()[0])
        return False
    return True


# ---------------------------------------------------------------------- filter, scale, bias, noise, leaky ReLU


@dataclass(frozen=True)
class Fir:
    """A binomial FIR filter in both directions."""

    taps: int = 1
    """1 for no filter, 3 for [1, 2, 1], 4 for [1, 3, 3, 1]."""
    padding: int = 0
    """Zeros on each side; with `up` 2 it counts as in a transposed convolution."""
    up: int = 1
    """2 inserts zeros between the pixels first."""
    down: int = 1
    """Downsampling stride."""
    gain: float = 1.0
    """Sum of the filter."""
    size: tuple[int, int] | None = None
    """Height and width of the result if `up` is 2; None for the smallest."""

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the filtered image."""
        if self.size is not None:
            return self.size
        border = 2 * (self.taps - 1 - self.padding if self.up == 2 else self.padding)
        rows, columns = ((length - 1) * self.up + 1 + border - self.taps for length in (height, width))
        return rows // self.down + 1, columns // self.down + 1


@dataclass(frozen=True)
class Epilogue:
    """What follows a filter; None leaves a step out."""

    scale: Tensor | None = None
    """float32 [N, C]."""
    bias: Tensor | None = None
    """float32 [C]."""
    noise: Tensor | None = None
    """float32 [N, 1, Y, X], contiguous."""
    noise_strength: Tensor | None = None
    """float32 [], needed with noise."""
    lrelu: bool = False
    """Apply a leaky ReLU of slope 0.2 at the end."""


def filtered_lrelu(x: Tensor, fir: Fir, epilogue: Epilogue | None = None) -> Tensor:
    """Return lrelu(scale * fir(x) + bias + noise_strength * noise), [N, C, Y, X]."""
    from figment.nets.ops import triton_kernels

    then = epilogue or Epilogue()
    n, c, height, width = x.shape
    rows, columns = fir.output_size(height, width)
    out = torch.empty((n, c, rows, columns), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    pixels, channels = _blocks(c, ELEMENTS if fir.taps == 1 else FIR_ELEMENTS)
    grid = (-(-rows * columns // pixels), n, -(-c // channels))
    triton_kernels.filtered_lrelu[grid](
        x,
        out,
        x if then.scale is None else then.scale,
        x if then.bias is None else then.bias,
        x if then.noise is None else then.noise,
        x if then.noise_strength is None else then.noise_strength,
        height,
        width,
        rows,
        columns,
        c,
        fir.padding,
        fir.gain / 4.0 ** (fir.taps - 1),
        TAPS=fir.taps,
        UP=fir.up,
        DOWN=fir.down,
        SCALED=then.scale is not None,
        BIASED=then.bias is not None,
        NOISY=then.noise is not None,
        LRELU=then.lrelu,
        PIXELS=pixels,
        CHANNELS=channels,
        num_warps=4 if fir.taps == 1 else FIR_WARPS,
    )
    return out


def lrelu_backward(
    grad: Tensor,  # gradient of the result, [N, C, H, W]
    y: Tensor,  # the result, [N, C, H, W]
    scale: Tensor | None = None,  # [N, C]
    noise: Tensor | None = None,  # [N, 1, H, W]
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return scale * g and the sums over pixels [N, C] of g, g z and g noise.

    g is the gradient before the leaky ReLU and z the value there. The last two are None without scale and noise.
    """
    from figment.nets.ops import triton_kernels

    grad_x = torch.empty_like(y)
    grid, sizes, blocks = _summing(y)
    sums = torch.empty(1 + (scale is not None) + (noise is not None), len(y), sizes[2], y.shape[1], device=y.device)
    triton_kernels.lrelu_backward[grid](
        cast_like(grad, y),
        y,
        y if scale is None else scale,
        y if noise is None else noise,
        grad_x,
        sums[0],
        sums[min(1, len(sums) - 1)],
        sums[-1],
        *sizes,
        SCALED=scale is not None,
        NOISY=noise is not None,
        **blocks,
    )
    totals = sums.sum(2)
    return grad_x, totals[0], None if scale is None else totals[1], None if noise is None else totals[-1]


# ---------------------------------------------------------------------- modulation


def modulate_backward(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of `x` [N, C, H, W] and of what it was scaled by, [N, C]."""
    from figment.nets.ops import triton_kernels

    grad_x = torch.empty_like(x)
    grid, sizes, blocks = _summing(x)
    sums = torch.empty(len(x), sizes[2], x.shape[1], device=x.device)
    triton_kernels.modulate_backward[grid](cast_like(grad, x), x, scale, grad_x, sums, *sizes, **blocks)
    return grad_x, sums.sum(1)


def modulate_double_backward(
    grad: Tensor,  # gradient of the result, [N, C, H, W]
    x: Tensor,  # what was scaled, [N, C, H, W]
    y: Tensor | None,  # the result of a leaky ReLU after it; None if there was none
    scale: Tensor,  # [N, C]
    grad2_x: Tensor | None,  # gradient of the gradient of x, [N, C, H, W]; None for zeros
    grad2_scale: Tensor | None,  # gradient of the gradient of scale, [N, C]; None for zeros
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `grad`, `x` and `scale`."""
    from figment.nets.ops import triton_kernels

    grad2_x = torch.zeros_like(x) if grad2_x is None else cast_like(grad2_x, x)
    grad2_scale = torch.zeros_like(scale) if grad2_scale is None else grad2_scale.contiguous()
    grad_grad, grad_x = torch.empty_like(x), torch.empty_like(x)
    grid, sizes, blocks = _summing(x)
    sums = torch.empty(len(x), sizes[2], x.shape[1], device=x.device)
    triton_kernels.modulate_double_backward[grid](
        cast_like(grad, x),
        x,
        x if y is None else y,
        scale,
        grad2_x,
        grad2_scale,
        grad_grad,
        grad_x,
        sums,
        *sizes,
        LRELU=y is not None,
        **blocks,
    )
    return grad_grad, grad_x, sums.sum(1)


# ---------------------------------------------------------------------- to and from RGB


def to_rgb(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return colors, float32 [N, K, H, W], of `x` [N, C, H, W] by weights float32 [N or 1, K, C]; K <= 4."""
    from figment.nets.ops import triton_kernels

    (n, c, height, width), colors = x.shape, weight.shape[1]
    out = torch.empty((n, colors, height, width), device=x.device, memory_format=torch.channels_last)
    pixels, channels = _blocks(c)
    triton_kernels.to_rgb[(-(-height * width // pixels), n)](
        x,
        weight,
        weight if bias is None else bias,
        out,
        height * width,
        c,
        OWN=int(len(weight) > 1),
        BIASED=bias is not None,
        COLORS=colors,
        BLOCKS=-(-c // channels),
        PIXELS=pixels,
        CHANNELS=channels,
    )
    return out


def from_rgb(
    image: Tensor,  # float32 [N, K, H, W]; K <= 4
    weight: Tensor,  # float32 [N or 1, K, C]
    dtype: torch.dtype,  # of the result
    bias: Tensor | None = None,  # [C]: add it, then apply a leaky ReLU; None for neither
    x: Tensor | None = None,  # [N, C, H, W]: sum image * x over pixels; None for no sums
) -> tuple[Tensor, Tensor]:
    """Return feature maps [N, C, H, W] of an image, and its sums with `x`, [N, K, C]."""
    from figment.nets.ops import triton_kernels

    (n, colors, height, width), c = image.shape, weight.shape[2]
    out = torch.empty((n, c, height, width), dtype=dtype, device=image.device, memory_format=torch.channels_last)
    pixels, channels = _blocks(c)
    parts = -(-height * width // pixels)
    sums = torch.empty(0 if x is None else n, parts, colors, c, device=image.device)
    triton_kernels.from_rgb[(parts, n, -(-c // channels))](
        image,
        weight,
        weight if bias is None else bias,
        out if x is None else x,
        out,
        sums,
        height * width,
        c,
        parts,
        OWN=int(len(weight) > 1),
        LRELU=bias is not None,
        SUMMED=x is not None,
        COLORS=colors,
        PIXELS=pixels,
        CHANNELS=channels,
    )
    return out, sums.sum(1)


# ---------------------------------------------------------------------- lines


def filter_lines(
    x: Tensor,  # float32 [N, C, H, W]
    taps: Tensor,  # float32 [T], T even
    axis: int,  # filter along 2 (height) or 3 (width)
    up: bool,  # to twice the resolution; else to half of it
    offset: int,  # shift of the filter, see `triton_kernels.filter_lines`
    length: int,  # of the result along that axis
) -> Tensor:
    """Return rows or columns filtered."""
    from figment.nets.ops import triton_kernels

    x = x.contiguous()
    out = x.new_empty([length if i == axis else size for i, size in enumerate(x.shape)])
    triton_kernels.filter_lines[(-(-out.numel() // LINE_ELEMENTS),)](
        x,
        out,
        taps,
        x.shape[axis],
        length,
        x.shape[3] if axis == 2 else 1,
        out.numel(),
        offset,
        UP=up,
        TAPS=len(taps),
        BLOCK=LINE_ELEMENTS,
    )
    return out


# ---------------------------------------------------------------------- sizes and layout


def cast_like(grad: Tensor, x: Tensor) -> Tensor:
    """Return a gradient in the type of `x`, channels last."""
    return grad.to(x.dtype).contiguous(memory_format=torch.channels_last)


def _blocks(channels: int, elements: int = ELEMENTS) -> tuple[int, int]:
    """Return the pixels and channels that a program computes, powers of two."""
    block = min(1 << (channels - 1).bit_length(), 64)
    return elements // block, block


def _summing(x: Tensor) -> tuple[tuple[int, int, int], tuple[int, int, int], dict[str, int]]:
    """Return grid, sizes (pixels, channels, parts) and block sizes of kernels that sum over pixels in parts."""
    n, c, height, width = x.shape
    pixels, channels = _blocks(c)
    parts = -(-height * width // (pixels * LOOP))
    return (
        (parts, n, -(-c // channels)),
        (height * width, c, parts),
        {"LOOP": LOOP, "PIXELS": pixels, "CHANNELS": channels},
    )
