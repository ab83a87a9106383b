"""Pictures cut to tiles and put together again, with a linear map along both axes of each tile, on the CPU.

These are the two ends of a fast convolution, and each other's adjoint, in float32 or bfloat16. Where Numba is installed
it compiles them; else they are built of PyTorch's operations, which takes about three times as long.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Size = tuple[int, int, int, int]
"""Samples, height, width and channels of a picture, channels innermost."""


def cut(
    x: Tensor,  # [N, H, W, C]
    matrix: Tensor,  # [J, I], for tiles of I x I pixels
    step: int,  # pixels from one tile to the next
    pad: int,  # zeros around the picture
) -> Tensor:
    """All tiles of the pictures with `matrix` applied along both axes: [J^2, T, C]."""
    tiles: Tensor = _Cut.apply(x, matrix, step, pad)  # type: ignore[no-untyped-call]
    return tiles


def paste(
    tiles: Tensor,  # [I^2, T, C]
    matrix: Tensor,  # [J, I]
    size: Size,  # of the result
    step: int,
    pad: int,
) -> Tensor:
    """Tiles with `matrix` applied along both axes, added up where they overlap: [N, H, W, C]."""
    picture: Tensor = _Paste.apply(tiles, matrix, size, step, pad)  # type: ignore[no-untyped-call]
    return picture


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, step: int, pad: int) -> Tensor:
        ctx.rest = (matrix.t(), tuple(x.shape), step, pad)
        return (_cut_compiled if compiles() else _cut_plain)(x.contiguous(), matrix, step, pad)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return paste(grad, *ctx.rest), None, None, None


class _Paste(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tiles: Tensor, matrix: Tensor, size: Size, step: int, pad: int) -> Tensor:
        ctx.rest = (matrix.t(), step, pad)
        return (_paste_compiled if compiles() else _paste_plain)(tiles.contiguous(), matrix, size, step, pad)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return cut(grad, *ctx.rest), None, None, None, None


def _grid(size: Size, tile: int, step: int, pad: int) -> tuple[int, int]:
    """Tiles down and across."""
    return (size[1] + 2 * pad - tile) // step + 1, (size[2] + 2 * pad - tile) // step + 1


# ---------------------------------------------------------------------- with PyTorch's operations


def _along_both(
    matrix: Tensor,  # [J, I]
    tiles: Tensor,  # [I^2, A, B]
) -> Tensor:
    """`matrix` along both axes of tiles: [J^2, A, B]."""
    outs, ins = matrix.shape
    rows = torch.mm(matrix, tiles.reshape(ins, -1)).view(outs, ins, -1)  # [J, I, A B]
    return torch.matmul(matrix, rows).view(outs * outs, *tiles.shape[1:])  # [J, J, A B] -> [J^2, A, B]


def _cut_plain(x: Tensor, matrix: Tensor, step: int, pad: int) -> Tensor:
    tile = matrix.shape[1]
    down, across = _grid((*x.shape,), tile, step, pad)
    padded = F.pad(x, (0, 0, pad, pad, pad, pad)) if pad else x
    n, _, _, channels = padded.shape
    row, column = padded.stride(1), padded.stride(2)
    strides = (row, column, padded.stride(0), step * row, step * column, 1)
    view = padded.as_strided((tile, tile, n, down, across, channels), strides)
    return _along_both(matrix, view.reshape(tile * tile, n * down * across, channels).float()).to(x.dtype)


def _paste_plain(tiles: Tensor, matrix: Tensor, size: Size, step: int, pad: int) -> Tensor:
    n, height, width, channels = size
    tile = matrix.shape[0]
    down, across = _grid(size, tile, step, pad)
    parts = _along_both(matrix, tiles.float()).view(tile, tile, n, down, across, channels).permute(2, 3, 0, 4, 1, 5)
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
    return whole[:, pad : height + pad, pad : width + pad].to(tiles.dtype).contiguous()


# ---------------------------------------------------------------------- compiled


@functools.cache
def compiles() -> bool:
    """Whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


def _cut_compiled(x: Tensor, matrix: Tensor, step: int, pad: int) -> Tensor:
    from figment.nets import tilekernels

    down, across = _grid((*x.shape,), matrix.shape[1], step, pad)
    tiles = x.new_empty(len(matrix) ** 2, len(x) * down * across, x.shape[3])
    arrays = matrix.contiguous().numpy(), _array(x), _array(tiles)
    _spread(tiles.shape[1], lambda begin, end: tilekernels.cut(begin, end, *arrays, step, pad, down, across))
    return tiles


def _paste_compiled(tiles: Tensor, matrix: Tensor, size: Size, step: int, pad: int) -> Tensor:
    from figment.nets import tilekernels

    down, across = _grid(size, len(matrix), step, pad)
    picture = tiles.new_empty(size)
    arrays = matrix.contiguous().numpy(), _array(tiles), _array(picture)
    blocks = -(-size[3] // tilekernels.WIDE)
    _spread(size[0] * blocks, lambda begin, end: tilekernels.paste(begin, end, *arrays, step, pad, down, across))
    return picture


def _array(x: Tensor) -> NDArray[Any]:
    """The memory of `x`: bfloat16 as its bits in int16."""
    x = x.detach()
    array: NDArray[Any] = (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()
    return array


def _spread(jobs: int, run: Callable[[int, int], None]) -> None:
    """`run` on ranges that cover `jobs`, on as many threads as PyTorch uses."""
    threads = min(torch.get_num_threads(), jobs)
    ends = [jobs * part // threads for part in range(threads + 1)]
    others = [_pool().submit(run, begin, end) for begin, end in itertools.pairwise(ends[1:])]
    run(0, ends[1])
    for other in others:
        other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(torch.get_num_threads() - 1, 1), "tiles")
