"""3x3 convolutions with fewer multiplications, for training on a CPU: the minimal filtering of Winograd, Cook and Toom.

    with fast_convolutions():        # inside, layers take these wherever they pay; results agree to about 1e-5
        train_step(...)

A tile of the picture and the kernel are both transformed, multiplied channel by channel (one matrix product for each of
the tile's frequencies) and transformed back (Lavin & Gray 2015, equation 8, nested in two dimensions). An ordinary
convolution takes 36 products for 16 pixels instead of 144; one that strides by two splits into even and odd pixels and
takes 25 for 4 instead of 36, and enlarging by two is its transpose. All is built of linear maps whose derivatives are
their transposes, so gradients of any order cost as little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_on = False
LEAST_CHANNELS = 48
"""Below it the transforms cost more than the products they save."""
LEAST_TILES = 64
"""With fewer tiles than this in a batch, transforming the kernel costs more than it saves."""


@contextmanager
def fast_convolutions(on: bool = True) -> Iterator[None]:
    """Inside, networks on a CPU in float32 take the fast ways, and lay out their feature maps channels last."""
    global _on
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before


def lay_out(x: Tensor) -> Tensor:
    """`x` [N, C, H, W] in the order that convolutions want it: channels innermost inside `fast_convolutions`."""
    return x.contiguous(memory_format=torch.channels_last) if _on else x


@dataclass(frozen=True)
class Scheme:
    """A bilinear algorithm for y = A ((G kernel) * (B tile)) in one dimension; two dimensions nest it with itself."""

    a: tuple[tuple[float, ...], ...]
    """[outputs, products]."""
    g: tuple[tuple[float, ...], ...]
    """[products, 3]."""
    b: tuple[tuple[float, ...], ...]
    """[products, tile]."""
    step: int
    """Pixels from one tile to the next."""

    @property
    def outputs(self) -> int:
        return len(self.a)

    @property
    def tile(self) -> int:
        return len(self.b[0])

    @cached_property
    def outward(self) -> Tensor:
        """[outputs^2, products^2]."""
        return _nest(self.a)

    @cached_property
    def kernel(self) -> Tensor:
        """[products^2, 9]."""
        return _nest(self.g)

    @cached_property
    def inward(self) -> Tensor:
        """[products^2, tile^2]."""
        return _nest(self.b)


def _nest(rows: tuple[tuple[float, ...], ...]) -> Tensor:
    """A one-dimensional map applied along both axes, as a matrix on flattened tiles."""
    line = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(line, line).float()


# Four outputs of a kernel of three, from the points 0, 1, -1, 2, -2 and infinity (Lavin & Gray 2015, section 4.3).
SAME = Scheme(
    a=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    g=((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6), (1 / 24, 1 / 12, 1 / 6),
       (1 / 24, -1 / 12, 1 / 6), (0, 0, 1)),
    b=((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0),
       (0, 4, 0, -5, 0, 1)),
    step=4)
# Two outputs at stride two: the outer taps see even pixels (two outputs of three products), the middle one odd ones.
HALF = Scheme(
    a=((1, 1, 0, 1, 0), (0, 1, -1, 0, 1)),
    g=((1, 0, 0), (1, 0, 1), (0, 0, 1), (0, 1, 0), (0, 1, 0)),
    b=((1, 0, -1, 0, 0), (0, 0, 1, 0, 0), (0, 0, 1, 0, -1), (0, 1, 0, 0, 0), (0, 0, 0, 1, 0)),
    step=4)


# ---------------------------------------------------------------------- the three convolutions


def conv_same(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.conv2d(x, weight, bias, padding=1)`: [N, C, H, W] and [K, C, 3, 3] to [N, K, H, W]."""
    height, width = x.shape[2:]
    if not _pays(x, weight, SAME, height, width):
        return F.conv2d(x, weight, bias, padding=1)
    tiles = _cut(x.permute(0, 2, 3, 1), SAME.tile, SAME.step, 1)
    return _join(tiles, weight, bias, SAME, (len(x), height, width, len(weight)))


def conv_half(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.conv2d(x, weight, bias, stride=2)`: [N, C, 2 h + 1, 2 w + 1] and [K, C, 3, 3] to [N, K, h, w]."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    if not _pays(x, weight, HALF, height, width) or x.shape[2] % 2 == 0 or x.shape[3] % 2 == 0:
        return F.conv2d(x, weight, bias, stride=2)
    tiles = _cut(x.permute(0, 2, 3, 1), HALF.tile, HALF.step, 0)
    return _join(tiles, weight, bias, HALF, (len(x), height, width, len(weight)))


def conv_double(x: Tensor, weight: Tensor) -> Tensor:
    """`F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)`: [N, C, h, w] to [N, K, 2 h + 1, 2 w + 1]."""
    n, _, height, width = x.shape
    if not _pays(x, weight, HALF, height, width):
        return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)

    # The transpose of `conv_half`: each linear map is turned around, and tiles are added where they overlap.
    blocks = _cut(x.permute(0, 2, 3, 1), HALF.outputs, HALF.outputs, 0)                # [4, T, C]
    spread = torch.mm(HALF.outward.t(), blocks.flatten(1)).view(-1, *blocks.shape[1:])   # [25, T, C]
    products = torch.bmm(spread, _frequencies(weight, HALF))                             # [25, T, K]
    tiles = torch.mm(HALF.inward.t(), products.flatten(1)).view(-1, *products.shape[1:])
    size = (n, 2 * height + 1, 2 * width + 1, len(weight))
    return _paste(tiles, size, HALF.tile, HALF.step, 0).permute(0, 3, 1, 2)


def _pays(x: Tensor, weight: Tensor, scheme: Scheme, height: int, width: int) -> bool:
    """Whether the fast way is allowed here, and faster; the size is that of the tiled outputs."""
    return (_on and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu") and weight.shape[2:] == (3, 3)
            and min(weight.shape[:2]) >= LEAST_CHANNELS
            and height % scheme.outputs == 0 and width % scheme.outputs == 0
            and len(x) * height * width >= LEAST_TILES * scheme.outputs**2)


def _join(
    tiles: Tensor,                        # [tile^2, T, C]
    weight: Tensor,                       # [K, C, 3, 3]
    bias: Tensor | None,                  # [K]
    scheme: Scheme,
    size: tuple[int, int, int, int],      # N, height, width and K of the result
) -> Tensor:
    """Tiles to the convolved picture, [N, K, H, W] with channels last in memory."""
    spread = torch.mm(scheme.inward, tiles.flatten(1)).view(-1, *tiles.shape[1:])              # [products^2, T, C]
    products = torch.bmm(spread, _frequencies(weight, scheme))                                 # [products^2, T, K]
    blocks = torch.mm(scheme.outward, products.flatten(1)).view(-1, *products.shape[1:])       # [outputs^2, T, K]
    picture = _paste(blocks, size, scheme.outputs, scheme.outputs, 0)
    return (picture if bias is None else picture + bias).permute(0, 3, 1, 2)


def _frequencies(weight: Tensor, scheme: Scheme) -> Tensor:
    """The transformed kernel, [products^2, C, K]."""
    taps = weight.permute(2, 3, 1, 0).reshape(9, -1)
    return torch.mm(scheme.kernel, taps).view(-1, weight.shape[1], weight.shape[0])


# ---------------------------------------------------------------------- tiles and pictures, each the other's transpose


def _cut(x: Tensor, tile: int, step: int, pad: int) -> Tensor:
    """[N, H, W, C] to all its tiles: [tile^2, T, C]."""
    cut: Tensor = _Cut.apply(x, tile, step, pad)  # type: ignore[no-untyped-call]
    return cut


def _paste(tiles: Tensor, size: tuple[int, int, int, int], tile: int, step: int, pad: int) -> Tensor:
    """Tiles [tile^2, T, C], added up where they overlap, to [N, H, W, C]."""
    pasted: Tensor = _Paste.apply(tiles, size, tile, step, pad)  # type: ignore[no-untyped-call]
    return pasted


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tile: int, step: int, pad: int) -> Tensor:
        ctx.rest = (tuple(x.shape), tile, step, pad)
        padded = F.pad(x.contiguous(), (0, 0, pad, pad, pad, pad)) if pad else x.contiguous()
        n, height, width, channels = padded.shape
        down, across = (height - tile) // step + 1, (width - tile) // step + 1
        row, column = padded.stride(1), padded.stride(2)
        strides = (row, column, padded.stride(0), step * row, step * column, 1)
        view = padded.as_strided((tile, tile, n, down, across, channels), strides)
        return view.reshape(tile * tile, n * down * across, channels).contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Paste.apply(grad, *ctx.rest), None, None, None  # type: ignore[no-untyped-call]


class _Paste(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tiles: Tensor, size: tuple[int, ...], tile: int, step: int, pad: int) -> Tensor:
        ctx.rest = (tile, step, pad)
        n, height, width, channels = size
        down, across = (height + 2 * pad - tile) // step + 1, (width + 2 * pad - tile) // step + 1
        parts = tiles.reshape(tile, tile, n, down, across, channels).permute(2, 3, 0, 4, 1, 5)
        if tile == step:
            return parts.reshape(n, height, width, channels)

        # Each tile fills its own cell of the grid and reaches into the next ones.
        over = tile - step
        cells = parts.new_zeros(n, down + 1, step, across + 1, step, channels)
        cells[:, :down, :, :across] = parts[:, :, :step, :, :step]
        cells[:, 1:, :over, :across] += parts[:, :, step:, :, :step]
        cells[:, :down, :, 1:, :over] += parts[:, :, :step, :, step:]
        cells[:, 1:, :over, 1:, :over] += parts[:, :, step:, :, step:]
        whole = cells.view(n, (down + 1) * step, (across + 1) * step, channels)
        return whole[:, pad : height + pad, pad : width + pad].contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Cut.apply(grad, *ctx.rest), None, None, None, None  # type: ignore[no-untyped-call]
