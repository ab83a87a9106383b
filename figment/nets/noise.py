"""The noise that layers add: their own, random, or none; random noise may belong to a larger batch that was split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SharedNoise:
    """The noise of some samples of a batch: the same for a sample, however its batch is split over ranks and parts."""

    generator: torch.Generator
    """On the device that draws; every part of the batch starts from the same state."""
    batch: int
    """Samples of the whole batch."""
    rows: Tensor
    """int64 [n], on that device: which of them are drawn."""


@dataclass
class DrawnNoise:
    """Noise that was drawn before, one map for each layer in the layers' order."""

    maps: list[Tensor]
    """Each [N, 1, H, W]."""
    taken: int = 0
    """How many of them layers have had."""


Randomness = torch.Generator | SharedNoise | DrawnNoise | None
"""Where random noise comes from; None is torch's global state."""


def random_maps(
    shape: tuple[int, ...],  # [N, 1, H, W]
    like: Tensor,  # gives device and type
    randomness: Randomness = None,
    sample: Callable[..., Tensor] = torch.randn,  # or torch.rand
) -> Tensor:
    """Random maps of this shape."""
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
    const: Tensor,  # [H, W]: the layer's own noise
    batch: int,
    randomness: Randomness = None,  # for random noise
) -> Tensor | None:
    """A layer's noise as [1 or N, 1, H, W], or None for none."""
    if kind == "none":
        return None
    if kind == "const":
        return const[None, None]
    if kind != "random":
        raise ValueError(f"noise {kind!r}: must be const, random or none")
    return random_maps((batch, 1, *const.shape), const, randomness)
