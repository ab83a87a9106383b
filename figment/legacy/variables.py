"""Foreign variables on their way into a network: each is taken once, and what nobody takes is an error."""

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

SMOOTH_TAPS = np.array([1.0, 3.0, 3.0, 1.0]) / 8
SOFT_TAPS = np.array([1.0, 2.0, 1.0]) / 4


class Variables:
    """A network's variables by their foreign names."""

    def __init__(
        self,
        values: dict[Any, Any],
        where: str,  # what they are the variables of, for messages
    ) -> None:
        self.values, self.where = {str(key): value for key, value in values.items()}, where
        self.rest = set(self.values)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def array(self, name: str) -> np.ndarray:
        """The variable `name`, a view of the file."""
        if name not in self.values:
            raise FigmentError(f"{self.where}: missing {name}")
        self.rest.discard(name)
        return as_array(self.values[name])

    def take(
        self,
        name: str,
        axes: tuple[int, ...] | None = None,  # the order of the foreign axes in figment's layout; None keeps it
        shape: tuple[int, ...] | None = None,  # to reshape to; None keeps it
        scale: float = 1.0,
        turn: bool = False,  # turn a kernel by 180 degrees
    ) -> Tensor:
        """The variable `name` as a float32 tensor of its own memory."""
        array = self.array(name)
        if axes is not None:
            array = self.rank(name, len(axes)).transpose(axes)
        if turn:
            array = array[..., ::-1, ::-1]
        if shape is not None:
            array = array.reshape(shape)
        tensor = torch.empty(array.shape)
        np.copyto(tensor.numpy(), array, casting="unsafe")
        return tensor if scale == 1 else tensor * scale

    def rank(self, name: str, rank: int) -> np.ndarray:
        """The variable `name`, which must have `rank` axes."""
        array = self.array(name)
        if array.ndim != rank:
            raise FigmentError(f"{self.where}: {name} has {array.ndim} axes and not {rank}")
        return array

    def rank_one(self, name: str, rank: int) -> Tensor:
        """The variable `name` of `rank` axes, the first of length 1 and left out."""
        shape = self.shape(name, rank)
        if shape[0] != 1:
            raise FigmentError(f"{self.where}: {name} is {list(shape)}, and its first axis must be 1")
        return self.take(name, shape=shape[1:])

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """The shape of `name`, which must have `rank` axes; it stays to be taken."""
        taken = name not in self.rest
        shape: tuple[int, ...] = self.rank(name, rank).shape
        if not taken:
            self.rest.add(name)
        return shape

    def number(self, name: str) -> float:
        """The variable `name` as one number."""
        array = self.array(name)
        if array.size != 1:
            raise FigmentError(f"{self.where}: {name} must be one number, and has {array.size}")
        return float(array.reshape(()))

    def skip_filters(
        self,
        pattern: str,  # names, as a regular expression
        taps: np.ndarray = SMOOTH_TAPS,
    ) -> None:
        """Take the constant filters whose names match, after seeing that they are the usual one in any scale."""
        usual = {1: taps, 2: np.outer(taps, taps)}
        for name in sorted(self.rest):
            if not re.search(pattern, name):
                continue
            array = np.squeeze(self.array(name)).astype(np.float64)
            flat = array.reshape(-1, *array.shape[-2:]) if array.ndim > 2 else array[None]
            for kernel in flat:
                wanted = usual.get(kernel.ndim)
                total = kernel.sum()
                if wanted is None or kernel.shape != wanted.shape or not np.allclose(kernel / total, wanted, atol=1e-6):
                    raise FigmentError(f"{self.where}: {name} is not the usual filter, which figment can't reproduce")

    def skip(self, names: Iterable[str]) -> None:
        """Take variables that carry nothing."""
        self.rest -= set(names)

    def done(self) -> None:
        """Raise FigmentError that lists whatever is left over."""
        if self.rest:
            raise FigmentError(f"{self.where}: left over: {listed(sorted(self.rest))}")


def listed(names: list[str], most: int = 40) -> str:
    """`names` for one line, printable, with how many more there are."""
    shown = ", ".join(name if name.isprintable() else ascii(name) for name in names[:most])[:4000]
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


@torch.no_grad()
def estimate_w_avg(generator: Generator, samples: int = 4096) -> None:
    """Set the generator's mean of w to that of `samples` latents of seed 0, for files that don't hold it."""
    z = torch.from_numpy(np.random.RandomState(0).randn(samples, generator.z_dim))
    generator.w_avg.copy_(generator.mapping(z)[:, 0].mean(0))
