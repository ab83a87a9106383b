"""The noise that layers add: constant, random or none. Random noise may belong to a larger batch that was split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SharedNoise:
    """The noise of some samples of a batch: the same for a sample however the batch is split over ranks and parts."""

    generator: torch.Generator
    """On the device that draws; every part of the batch starts from the same state."""
    batch: int
    """Samples in the whole batch."""
    rows: Tensor
    """int64 [n], on that device: the samples to draw."""


@dataclass
class DrawnNoise:
    """Noise drawn earlier, one map per layer in the order of the layers."""

    maps: list[Tensor]
    """Each [N, 1, H, W]."""
    taken: int = 0
    """Number of maps that layers have used."""


Randomness = torch.Generator | SharedNoise | DrawnNoise | None
"""The source of random noise; None is torch's global generator."""


def random_maps(
    shape: tuple[int, ...],  # [N, 1, H, W]
    like: Tensor,  # gives device and type
    randomness: Randomness = None,
    sample: Callable[..., Tensor] = torch.randn,  # or torch.rand
) -> Tensor:
    """Return random maps of this shape, with the device and type of `like`."""
    if isinstance(randomness, DrawnNoise):
        randomness.taken += 1
        return randomness.maps[randomness.taken - 1]
    if isinstance(randomness, SharedNoise):
        whole = sample(
            (randomness.batch, *shape[1:]), generator=randomness.generator, device=like.device, dtype=like.dtype
        )
        return whole[randomness.rows[: shape[0]]]
    return sample(shape, generator=randomness, device=like.device, dtype=like.dtype)


def broadcast_noise(
    kind: str,  # "const", "random" or "none"
    const: Tensor,  # [H, W]: the layer's constant noise
    batch: int,  # samples
    randomness: Randomness = None,  # source of random noise
) -> Tensor | None:
    """Return a layer's noise, [1, 1, H, W] if constant and [batch, 1, H, W] if random, or None.

    Raises ValueError for another `kind`.
    """
    if kind == "none":
        return None
    if kind == "const":
        return const[None, None]
    if kind != "random":
        raise ValueError(f"noise {kind!r}: must be const, random or none")
    return random_maps((batch, 1, *const.shape), const, randomness)
