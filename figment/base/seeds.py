"""Seeds that mean the same picture in every tool of the field."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from figment.base.errors import FigmentError

if TYPE_CHECKING:
    import numpy as np


def seed_to_z(seed: int, z_dim: int) -> np.ndarray:
    """The latent of `seed`: float64 [z_dim], `RandomState(seed).randn(z_dim)` as StyleGAN's tools draw it."""
    import numpy as np

    return np.random.RandomState(seed).randn(z_dim)


def seeds_to_z(seeds: list[int], z_dim: int) -> np.ndarray:
    """The latents of `seeds`: float64 [N, z_dim]."""
    import numpy as np

    return np.stack([seed_to_z(seed, z_dim) for seed in seeds])


def parse_seeds(text: str, flag: str = "--seeds") -> list[int]:
    """`"0-3,7"` as [0, 1, 2, 3, 7]; raises FigmentError that names `flag`, the value and the rule."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise FigmentError(f"{flag} {text!r}: must be numbers and ranges such as 0-63 or 1,5,9-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= 2**32:
            raise FigmentError(f"{flag} {text!r}: a range must rise and stay below 2**32")
        seeds += range(first, last + 1)
    return seeds
