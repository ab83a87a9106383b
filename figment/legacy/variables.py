"""Variables of a foreign network: a reader takes each one, and any that is left over is an error."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.legacy.torchfile import as_array
from figment.nets.base import Generator

FIR_1331 = np.array([1.0, 3.0, 3.0, 1.0]) / 8
"""The resampling filter of StyleGAN2."""
FIR_121 = np.array([1.0, 2.0, 1.0]) / 4
"""The blur filter of StyleGAN."""


class Variables:
    """The variables of one network by their foreign names."""

    def __init__(
        self,
        values: dict[Any, Any],
        where: str,  # file and network, for messages
    ) -> None:
        self.values, self.where = {str(key): value for key, value in values.items()}, where
        self.rest = set(self.values)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def array(self, name: str) -> np.ndarray:
        """Take the variable `name` as a view of the file. Raises FigmentError if it is missing."""
        if name not in self.values:
            raise FigmentError(f"{self.where}: missing {name}")
        self.rest.discard(name)
        return as_array(self.values[name])

    def take(
        self,
        name: str,
        axes: tuple[int, ...] | None = None,  # transpose to this order; None: keep the order
        shape: tuple[int, ...] | None = None,  # reshape to this; None: keep the shape
        scale: float = 1.0,  # multiply by this
        rotate: bool = False,  # rotate a kernel by 180 degrees
    ) -> Tensor:
        """Take the variable `name` as a float32 tensor, copied."""
        array = self.array(name)
        if axes is not None:
            array = self.rank(name, len(axes)).transpose(axes)
        if rotate:
            array = array[..., ::-1, ::-1]
        if shape is not None:
            array = array.reshape(shape)
        tensor = torch.empty(array.shape)
        np.copyto(tensor.numpy(), array, casting="unsafe")
        return tensor if scale == 1 else tensor * scale

    def rank(self, name: str, rank: int) -> np.ndarray:
        """Take the variable `name` as a view of the file. Raises FigmentError unless it has `rank` axes."""
        array = self.array(name)
        if array.ndim != rank:
            raise FigmentError(f"{self.where}: {name} has {array.ndim} axes, expected {rank}")
        return array

    def rank_one(self, name: str, rank: int) -> Tensor:
        """Take the variable `name` of `rank` axes as a tensor without its first axis, whose length must be 1."""
        shape = self.shape(name, rank)
        if shape[0] != 1:
            raise FigmentError(f"{self.where}: {name} has shape {list(shape)}, and the first axis must be 1")
        return self.take(name, shape=shape[1:])

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """Return the shape of `name`, which must have `rank` axes, without taking it."""
        taken = name not in self.rest
        shape: tuple[int, ...] = self.rank(name, rank).shape
        if not taken:
            self.rest.add(name)
        return shape

    def number(self, name: str) -> float:
        """Take the variable `name` as one number."""
        array = self.array(name)
        if array.size != 1:
            raise FigmentError(f"{self.where}: {name} must be one number, not {array.size}")
        return float(array.reshape(()))

    def skip_filters(
        self,
        pattern: str,  # regular expression for names
        taps: np.ndarray = FIR_1331,
    ) -> None:
        """Take the constant filters whose names match. Raises FigmentError unless they are `taps` at any scale."""
        expected = {1: taps, 2: np.outer(taps, taps)}
        for name in sorted(self.rest):
            if not re.search(pattern, name):
                continue
            array = np.squeeze(self.array(name)).astype(np.float64)
            flat = array.reshape(-1, *array.shape[-2:]) if array.ndim > 2 else array[None]
            for kernel in flat:
                wanted = expected.get(kernel.ndim)
                total = kernel.sum()
                if wanted is None or kernel.shape != wanted.shape or not np.allclose(kernel / total, wanted, atol=1e-6):
                    raise FigmentError(
                        f"{self.where}: {name} is not the usual filter, so figment can't reproduce this network"
                    )

    def skip(self, names: Iterable[str]) -> None:
        """Take variables that figment has no use for."""
        self.rest -= set(names)

    def done(self) -> None:
        """Raise FigmentError that lists the variables nobody took, if any."""
        if self.rest:
            raise FigmentError(f"{self.where}: left over: {listed(sorted(self.rest))}")


def last_block_size(
    dense: Tensor,  # [outputs, C * h * w]: the first layer that sees a discriminator's last block as one vector
    width: int,  # C
    like: tuple[int, int] | None,  # height and width of the first block of the generator beside it, if there is one
    where: str,
) -> tuple[int, int]:
    """Return height and width of a discriminator's last block, which its weights don't name.

    Raises FigmentError unless the generator's are possible, or without a generator 4x4.
    """
    places = dense.shape[1] / width
    height, wide = like or (4, 4)
    if places == height * wide:
        return height, wide
    hint = f"the generator's {height}x{wide}" if like else "4x4, and without a generator figment can't tell its sides"
    raise FigmentError(f"{where}: its last block has {places:g} positions, which is not {hint}")


def listed(names: list[str], most: int = 40) -> str:
    """Return the first `most` names as printable text for one line, with the number of further names."""
    shown = ", ".join(name if name.isprintable() else ascii(name) for name in names[:most])[:4000]
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


@torch.no_grad()
def estimate_w_avg(generator: Generator, samples: int = 4096) -> None:
    """Set `w_avg` to the mean w of `samples` random latents (seed 0), for files that don't store it."""
    z = torch.from_numpy(np.random.RandomState(0).randn(samples, generator.z_dim))
    generator.w_avg.copy_(generator.mapping(z)[:, 0].mean(0))
