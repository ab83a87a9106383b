"""3x3 convolutions with fewer multiplications, for training on a CPU: Winograd's minimal filtering.

A tile of the image and the weight are both transformed, multiplied channel by channel (one matrix product for each
product of the scheme) and transformed back (Lavin & Gray 2015, arXiv 1509.09308, equation 8, nested in two dimensions).
A 3x3 convolution takes 36 products for 16 pixels instead of 144. With stride 2, even and odd pixels are treated apart,
which takes 81 products instead of 144; the transposed convolution of stride 2 is the transpose of that. Everything is
built from linear maps whose derivatives are their transposes, so gradients of any order are as cheap.

In float32 results agree with the ordinary convolution to about 1e-5. In bfloat16 tiles must be smaller, because
rounding would show: 3x3 convolutions take 64 products instead of 144, with a relative error of 0.6% instead of 0.3%;
with stride 2 the ordinary convolution is as fast.

Numba compiles the transforms if it is installed; otherwise they run as PyTorch operations, about three times as slow.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from figment.base.device import cpu_has
from figment.nets.ops.backend import apply, compute_dtype

MIN_CHANNELS = {torch.float32: 48, torch.bfloat16: 256}
"""With fewer channels the transforms cost more than the products they save."""
MIN_TILES = {torch.float32: 32, torch.bfloat16: 256}
"""With fewer tiles in a batch, transforming the weight costs more than it saves."""

Size = tuple[int, int, int, int]
"""Samples, height, width and channels of an image batch with channels last."""


# ---------------------------------------------------------------------- schemes


@dataclass(frozen=True)
class Scheme:
    """A bilinear algorithm y = A ((G weight) * (B tile)) in one dimension; two dimensions nest it with itself."""

    a: Tensor
    """float32 [outputs, products]."""
    g: Tensor
    """float32 [products, 3]."""
    b: Tensor
    """float32 [products, tile]."""
    stride: int
    """Of the convolution."""
    padding: int
    """Of the convolution: zeros on each side."""

    @property
    def outputs(self) -> int:
        """Return the pixels that a tile gives in each direction."""
        return len(self.a)

    @property
    def step(self) -> int:
        """Return the pixels from one tile to the next."""
        return self.outputs * self.stride


def _cook_toom(
    points: tuple[float, ...],  # infinity is added to them
    taps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return A, G and B of the Cook-Toom algorithm (Blahut 2010, section 5.2, transposed for filters), in float64."""

    def powers(count: int) -> Tensor:
        finite = torch.tensor([[point**k for k in range(count)] for point in points], dtype=torch.float64)
        return torch.cat([finite, torch.eye(count, dtype=torch.float64)[-1:]])

    products = len(points) + 1
    return powers(products - taps + 1).t(), powers(taps), torch.linalg.inv(powers(products)).t()


@functools.cache
def scheme_4x4() -> Scheme:
    """Return F(4, 3), four outputs in six products, with the points of Lavin & Gray 2015, section 4.3."""
    with torch.inference_mode(False):  # cached, so later calls may need gradients
        a, g, b = _cook_toom((0, 1, -1, 2, -2), 3)
        return Scheme(a.float(), g.float(), b.float(), stride=1, padding=1)


@functools.cache
def scheme_2x2() -> Scheme:
    """Return F(2, 3), two outputs in four products, of Lavin & Gray 2015, section 4.1."""
    with torch.inference_mode(False):
        a, g, b = _cook_toom((0, 1, -1), 3)
        return Scheme(a.float(), g.float(), b.float(), stride=1, padding=1)


@functools.cache
def scheme_strided() -> Scheme:
    """Return the scheme of stride 2, four outputs in nine products.

    Five products are for the outer taps, which see even pixels, and four for the middle tap, which sees odd ones.
    """
    with torch.inference_mode(False):
        a, g, b = _cook_toom((0, 1, -1, 0.5), 2)
        inward, weight = torch.zeros(9, 9), torch.zeros(9, 3)
        inward[:5, 0::2], inward[5:, 1::2] = b.float(), torch.eye(4)
        weight[:5, 0], weight[:5, 2], weight[5:, 1] = g[:, 0].float(), g[:, 1].float(), 1.0
        return Scheme(torch.cat([a.float(), torch.eye(4)], 1), weight, inward, stride=2, padding=0)


def scheme_for(
    x: Tensor,  # [N, C, H, W]
    weight: Tensor,  # [K, C, h, w], or [C, K, h, w] if transposed
    stride: int,
    padding: int,
    transposed: bool = False,
) -> Scheme | None:
    """Return the scheme that computes this convolution faster, or None if there is none."""
    dtype = compute_dtype(x)
    if x.device.type != "cpu" or weight.dtype != torch.float32 or weight.shape[2:] != (3, 3):
        return None

    # Kind of convolution: in bfloat16 only small tiles are exact enough.
    scheme: Scheme
    if dtype == torch.float32 and (stride, padding) == (2, 0):
        scheme = scheme_strided()
    elif dtype == torch.float32 and (stride, padding, transposed) == (1, 1, False):
        scheme = scheme_4x4()
    elif dtype == torch.bfloat16 and (stride, padding, transposed) == (1, 1, False):
        scheme = scheme_2x2()
    else:
        return None

    # Size of the tiled outputs, or inputs of a transposed convolution: whole tiles, and enough of them.
    height, width = x.shape[2:]
    if stride == 2 and not transposed:
        if height % 2 == 0 or width % 2 == 0:
            return None
        height, width = height // 2, width // 2
    whole = height % scheme.outputs == 0 and width % scheme.outputs == 0
    enough = len(x) * height * width >= MIN_TILES[dtype] * scheme.outputs**2
    if not whole or not enough or min(weight.shape[:2]) < MIN_CHANNELS[dtype]:
        return None

    # In bfloat16 the transforms must be compiled, and AMX makes ordinary products as cheap.
    if dtype == torch.bfloat16 and (not numba_installed() or cpu_has("amx_bf16")):
        return None
    return scheme


# ---------------------------------------------------------------------- convolutions


def winograd_conv2d(
    x: Tensor,  # [N, C, H, W]
    weight: Tensor,  # float32 [K, C, 3, 3]
    bias: Tensor | None,  # [K]
    scheme: Scheme,  # from `scheme_for`
) -> Tensor:
    """Return the convolution that `scheme` computes, [N, K, Y, X], channels last in memory."""
    dtype = compute_dtype(x)
    size = (len(x), x.shape[2] // scheme.stride, x.shape[3] // scheme.stride, len(weight))
    with torch.autocast("cpu", enabled=False):
        nhwc = x.to(dtype).permute(0, 2, 3, 1)
        tiles = input_transform(nhwc, scheme.b, scheme.step, scheme.padding)  # [products^2, T, C]
        products = torch.bmm(tiles, _weight_transform(weight, scheme).to(dtype))  # [products^2, T, K]
        y = output_transform(products, scheme.a, size, scheme.outputs, 0)  # [N, Y, X, K]
        return (y if bias is None else y + bias.to(dtype)).permute(0, 3, 1, 2)


def winograd_conv_transpose2d(
    x: Tensor,  # float32 [N, C, H, W]
    weight: Tensor,  # float32 [C, K, 3, 3]
    scheme: Scheme,  # from `scheme_for`
) -> Tensor:
    """Return the transposed convolution of stride 2, [N, K, 2 H + 1, 2 W + 1], channels last in memory."""
    # The transpose of `winograd_conv2d`: each linear map is transposed, and tiles are summed where they overlap.
    size = (len(x), 2 * x.shape[2] + 1, 2 * x.shape[3] + 1, weight.shape[1])
    tiles = input_transform(x.permute(0, 2, 3, 1), scheme.a.t(), scheme.outputs, 0)  # [products^2, T, C]
    products = torch.bmm(tiles, _weight_transform(weight.transpose(0, 1), scheme))  # [products^2, T, K]
    return output_transform(products, scheme.b.t(), size, scheme.step, 0).permute(0, 3, 1, 2)


def _weight_transform(weight: Tensor, scheme: Scheme) -> Tensor:
    """Return the transformed weight of [K, C, 3, 3]: [products^2, C, K]."""
    y = torch.kron(scheme.g, scheme.g) @ weight.permute(2, 3, 1, 0).reshape(9, -1)  # [products^2, C K]
    return y.view(-1, weight.shape[1], weight.shape[0])


# ---------------------------------------------------------------------- transforms of tiles


def input_transform(
    x: Tensor,  # [N, H, W, C], float32 or bfloat16, on a CPU
    matrix: Tensor,  # float32 [J, I], for tiles of I x I pixels
    step: int,  # pixels from one tile to the next
    padding: int,  # zeros around the image
) -> Tensor:
    """Return all tiles of the images with `matrix` applied along both axes, [J^2, T, C] in the type of `x`."""
    return apply(_InputTransform, x, matrix, step, padding)


def output_transform(
    tiles: Tensor,  # [I^2, T, C], float32 or bfloat16, on a CPU
    matrix: Tensor,  # float32 [J, I]
    size: Size,  # of the result
    step: int,
    padding: int,
) -> Tensor:
    """Return the images [N, H, W, C] of tiles with `matrix` applied along both axes, summed where they overlap."""
    return apply(_OutputTransform, tiles, matrix, size, step, padding)


class _InputTransform(torch.autograd.Function):
    """The input transform; its gradient is an output transform."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, step: int, padding: int) -> Tensor:
        ctx.adjoint = (matrix.t(), tuple(x.shape), step, padding)
        transform = _input_transform_numba if numba_installed() else _input_transform_torch
        return transform(x.contiguous(), matrix, step, padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return output_transform(grad, *ctx.adjoint), None, None, None


class _OutputTransform(torch.autograd.Function):
    """The output transform; its gradient is an input transform."""

    @staticmethod
    def forward(ctx: Any, tiles: Tensor, matrix: Tensor, size: Size, step: int, padding: int) -> Tensor:
        ctx.adjoint = (matrix.t(), step, padding)
        transform = _output_transform_numba if numba_installed() else _output_transform_torch
        return transform(tiles.contiguous(), matrix, size, step, padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return input_transform(grad, *ctx.adjoint), None, None, None, None


def _grid(size: Size, tile: int, step: int, padding: int) -> tuple[int, int]:
    """Return the number of tiles down and across."""
    return (size[1] + 2 * padding - tile) // step + 1, (size[2] + 2 * padding - tile) // step + 1


# ---------------------------------------------------------------------- transforms as PyTorch operations


def _along_both_axes(
    matrix: Tensor,  # [J, I]
    tiles: Tensor,  # [I^2, A, B]
) -> Tensor:
    """Return tiles with `matrix` applied along both axes: [J^2, A, B]."""
    outs, ins = matrix.shape
    rows = torch.mm(matrix, tiles.reshape(ins, -1)).view(outs, ins, -1)  # [J, I, A B]
    return torch.matmul(matrix, rows).view(outs * outs, *tiles.shape[1:])  # [J, J, A B] -> [J^2, A, B]


def _input_transform_torch(x: Tensor, matrix: Tensor, step: int, padding: int) -> Tensor:
    tile = matrix.shape[1]
    down, across = _grid((*x.shape,), tile, step, padding)
    padded = F.pad(x, (0, 0, padding, padding, padding, padding)) if padding else x
    n, _, _, channels = padded.shape
    row, column = padded.stride(1), padded.stride(2)
    strides = (row, column, padded.stride(0), step * row, step * column, 1)
    view = padded.as_strided((tile, tile, n, down, across, channels), strides)
    return _along_both_axes(matrix, view.reshape(tile * tile, n * down * across, channels).float()).to(x.dtype)


def _output_transform_torch(tiles: Tensor, matrix: Tensor, size: Size, step: int, padding: int) -> Tensor:
    n, height, width, channels = size
    tile = matrix.shape[0]
    down, across = _grid(size, tile, step, padding)
    mapped = _along_both_axes(matrix, tiles.float())
    parts = mapped.view(tile, tile, n, down, across, channels).permute(2, 3, 0, 4, 1, 5)
    if tile == step:
        return parts.reshape(n, height, width, channels).to(tiles.dtype)

    # Each tile fills its own cell of the grid and reaches into the next ones.
    over = tile - step
    cells = parts.new_zeros(n, down + 1, step, across + 1, step, channels)
    cells[:, :down, :, :across] = parts[:, :, :step, :, :step]
    cells[:, 1:, :over, :across] += parts[:, :, step:, :, :step]
    cells[:, :down, :, 1:, :over] += parts[:, :, :step, :, step:]
    cells[:, 1:, :over, 1:, :over] += parts[:, :, step:, :, step:]
    whole = cells.view(n, (down + 1) * step, (across + 1) * step, channels)
    return whole[:, padding : height + padding, padding : width + padding].to(tiles.dtype).contiguous()


# ---------------------------------------------------------------------- transforms compiled by Numba


@functools.cache
def numba_installed() -> bool:
    """Return whether Numba is installed (the extra `cpu`)."""
    return importlib.util.find_spec("numba") is not None


def _input_transform_numba(x: Tensor, matrix: Tensor, step: int, padding: int) -> Tensor:
    from figment.nets.ops import numba_kernels

    grid = _grid((*x.shape,), matrix.shape[1], step, padding)
    tiles = x.new_empty(len(matrix) ** 2, len(x) * grid[0] * grid[1], x.shape[3])
    arrays = matrix.contiguous().numpy(), _array(x), _array(tiles)
    _in_threads(
        tiles.shape[1],
        lambda begin, end: numba_kernels.input_transform((begin, end), *arrays, (step, padding), grid),
    )
    return tiles


def _output_transform_numba(tiles: Tensor, matrix: Tensor, size: Size, step: int, padding: int) -> Tensor:
    from figment.nets.ops import numba_kernels

    grid = _grid(size, len(matrix), step, padding)
    x = tiles.new_empty(size)
    arrays = matrix.contiguous().numpy(), _array(tiles), _array(x)
    blocks = -(-size[3] // numba_kernels.CHANNEL_BLOCK)
    _in_threads(
        size[0] * blocks,
        lambda begin, end: numba_kernels.output_transform((begin, end), *arrays, (step, padding), grid),
    )
    return x


def _array(x: Tensor) -> NDArray[Any]:
    """Return the memory of `x` as an array: bfloat16 as its bits in int16."""
    x = x.detach()
    array: NDArray[Any] = (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()
    return array


def _in_threads(jobs: int, run: Callable[[int, int], None]) -> None:
    """Call `run` with ranges that cover `jobs`, on as many threads as PyTorch uses."""
    threads = min(torch.get_num_threads(), jobs)
    ends = [jobs * part // threads for part in range(threads + 1)]
    others = [_pool().submit(run, begin, end) for begin, end in itertools.pairwise(ends[1:])]
    run(0, ends[1])
    for other in others:
        other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(torch.get_num_threads() - 1, 1), "winograd")
