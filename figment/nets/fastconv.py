"""3x3 convolutions with fewer multiplications, for training on a CPU: the minimal filtering of Winograd, Cook and Toom.

    with fast_convolutions():        # inside, layers take these wherever they pay
        train_step(...)

A tile of the picture and the kernel are both transformed, multiplied channel by channel (one matrix product for each of
the tile's frequencies) and transformed back (Lavin & Gray 2015, equation 8, nested in two dimensions). An ordinary
convolution takes 36 products for 16 pixels instead of 144; one that strides by two splits into even and odd pixels and
takes 81 for 16 instead of 144, and enlarging by two is its transpose. All is built of linear maps whose derivatives are
their transposes, so gradients of any order cost as little.

In float32 results agree with the ordinary way's to about 1e-5. In bfloat16 tiles must be smaller, or rounding shows:
ordinary convolutions take 64 products instead of 144, and err by 0.6% where the ordinary way errs by 0.3%; with strides
the ordinary way is as fast.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from figment.base.device import cpu_has
from figment.nets.bilinear import computed_in, convolve
from figment.nets.tiles import compiles, cut, paste

_on = False
LEAST_CHANNELS = {torch.float32: 48, torch.bfloat16: 256}
"""Below it the transforms cost more than the products they save."""
LEAST_TILES = {torch.float32: 32, torch.bfloat16: 256}
"""With fewer tiles than this in a batch, transforming the kernel costs more than it saves."""


@contextmanager
def fast_convolutions(on: bool = True) -> Iterator[None]:
    """Inside, networks on a CPU take the fast ways, and lay out their feature maps channels last."""
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

    a: Tensor
    """[outputs, products]."""
    g: Tensor
    """[products, 3]."""
    b: Tensor
    """[products, tile]."""
    step: int
    """Pixels from one tile to the next."""

    @property
    def outputs(self) -> int:
        return len(self.a)

    @property
    def tile(self) -> int:
        return self.b.shape[1]


def _from_points(
    points: tuple[float, ...],  # infinity is added to them
    taps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """A, G and B of the Cook-Toom algorithm (Blahut 2010, section 5.2, transposed for filters), in float64."""

    def powers(count: int) -> Tensor:
        finite = torch.tensor([[point**k for k in range(count)] for point in points], dtype=torch.float64)
        return torch.cat([finite, torch.eye(count, dtype=torch.float64)[-1:]])

    products = len(points) + 1
    return powers(products - taps + 1).t(), powers(taps), torch.linalg.inv(powers(products)).t()


@functools.cache
def _same() -> Scheme:
    """Four outputs of a kernel of three in six products (the points of Lavin & Gray 2015, section 4.3)."""
    a, g, b = _from_points((0, 1, -1, 2, -2), 3)
    return Scheme(a.float(), g.float(), b.float(), 4)


@functools.cache
def _same_rounded() -> Scheme:
    """Two outputs of a kernel of three in four products (the first example of Lavin & Gray 2015)."""
    a, g, b = _from_points((0, 1, -1), 3)
    return Scheme(a.float(), g.float(), b.float(), 2)


@functools.cache
def _half() -> Scheme:
    """Four outputs at stride two: five products for the outer taps at even pixels, four for the middle at odd ones."""
    a, g, b = _from_points((0, 1, -1, 0.5), 2)
    inward, kernel = torch.zeros(9, 9), torch.zeros(9, 3)
    inward[:5, 0::2], inward[5:, 1::2] = b.float(), torch.eye(4)
    kernel[:5, 0], kernel[:5, 2], kernel[5:, 1] = g[:, 0].float(), g[:, 1].float(), 1.0
    return Scheme(torch.cat([a.float(), torch.eye(4)], 1), kernel, inward, 8)


# ---------------------------------------------------------------------- the three convolutions


def conv_same(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.conv2d(x, weight, bias, padding=1)`: [N, C, H, W] and [K, C, 3, 3] to [N, K, H, W]."""
    height, width = x.shape[2:]
    scheme = _same_rounded() if computed_in(x) == torch.bfloat16 else _same()
    if not _on or not _pays(x, weight, scheme, height, width):
        return convolve(x, weight, bias, padding=1)
    return _convolve(x, weight, bias, scheme, 1, (height, width))


def conv_half(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.conv2d(x, weight, bias, stride=2)`: [N, C, 2 h + 1, 2 w + 1] and [K, C, 3, 3] to [N, K, h, w]."""
    height, width = x.shape[2] // 2, x.shape[3] // 2
    if not _on or not _pays(x, weight, _half(), height, width) or x.shape[2] % 2 == 0 or x.shape[3] % 2 == 0:
        return convolve(x, weight, bias, stride=2)
    return _convolve(x, weight, bias, _half(), 0, (height, width))


def conv_double(x: Tensor, weight: Tensor) -> Tensor:
    """`F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)`: [N, C, h, w] to [N, K, 2 h + 1, 2 w + 1]."""
    n, _, height, width = x.shape
    if not _on or not _pays(x, weight, _half(), height, width):
        return convolve(x, weight.transpose(0, 1), stride=2, transposed=True)

    # The transpose of `conv_half`: each linear map is turned around, and tiles are added where they overlap.
    scheme = _half()
    tiles = cut(x.permute(0, 2, 3, 1), scheme.a.t(), scheme.outputs, 0)  # [products^2, T, C]
    products = torch.bmm(tiles, _frequencies(weight, scheme))  # [products^2, T, K]
    size = (n, 2 * height + 1, 2 * width + 1, len(weight))
    return paste(products, scheme.b.t(), size, scheme.step, 0).permute(0, 3, 1, 2)


def _pays(x: Tensor, weight: Tensor, scheme: Scheme, height: int, width: int) -> bool:
    """Whether the fast way is allowed here, and faster; the size is that of the tiled outputs."""
    kind = computed_in(x)
    return (
        _on
        and x.device.type == "cpu"
        and weight.dtype == torch.float32
        and (kind == torch.float32 or _rounds(kind, scheme))
        and weight.shape[2:] == (3, 3)
        and min(weight.shape[:2]) >= LEAST_CHANNELS[kind]
        and height % scheme.outputs == 0
        and width % scheme.outputs == 0
        and len(x) * height * width >= LEAST_TILES[kind] * scheme.outputs**2
    )


def _rounds(kind: torch.dtype, scheme: Scheme) -> bool:
    """Whether the scheme may compute in bfloat16: only small tiles, and not where AMX makes products cheap."""
    return kind == torch.bfloat16 and scheme is _same_rounded() and compiles() and not cpu_has("amx_bf16")


def _convolve(
    x: Tensor,  # [N, C, H, W]
    weight: Tensor,  # [K, C, 3, 3]
    bias: Tensor | None,  # [K]
    scheme: Scheme,
    pad: int,
    size: tuple[int, int],  # height and width of the result
) -> Tensor:
    """The convolved pictures, [N, K, *size] with channels last in memory."""
    kind = computed_in(x)
    with torch.autocast("cpu", enabled=False):
        tiles = cut(x.to(kind).permute(0, 2, 3, 1), scheme.b, scheme.step, pad)  # [products^2, T, C]
        products = torch.bmm(tiles, _frequencies(weight, scheme).to(kind))  # [products^2, T, K]
        picture = paste(products, scheme.a, (len(x), *size, len(weight)), scheme.outputs, 0)
        return (picture if bias is None else picture + bias.to(kind)).permute(0, 3, 1, 2)


def _frequencies(weight: Tensor, scheme: Scheme) -> Tensor:
    """The transformed kernel, [products^2, C, K]."""
    both = torch.kron(scheme.g, scheme.g) @ weight.permute(2, 3, 1, 0).reshape(9, -1)
    return both.view(-1, weight.shape[1], weight.shape[0])
