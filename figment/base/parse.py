"""Parse seeds and durations from the command line, and turn seeds into latents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from figment.base.errors import FigmentError

if TYPE_CHECKING:
    import numpy as np


def seed_to_z(seed: int, z_dim: int) -> np.ndarray:
    """Return the latent of `seed`, float64 [z_dim]: `RandomState(seed).randn(z_dim)`, as in StyleGAN's tools."""
    import numpy as np

    return np.random.RandomState(seed).randn(z_dim)


def seeds_to_z(seeds: list[int], z_dim: int) -> np.ndarray:
    """Return the latents of `seeds`, float64 [N, z_dim]."""
    import numpy as np

    return np.stack([seed_to_z(seed, z_dim) for seed in seeds])


def parse_seeds(text: str, flag: str = "--seeds") -> list[int]:
    """Parse `"0-3,7"` into [0, 1, 2, 3, 7]. Raises FigmentError that names `flag`."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise FigmentError(f"{flag} {text!r}: must be numbers and ranges such as 0-63 or 1,5,9-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= 2**32:
            raise FigmentError(f"{flag} {text!r}: ranges must be ascending and below 2**32")
        seeds += range(first, last + 1)
    return seeds


UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
"""Seconds per unit."""


def parse_duration(text: str, flag: str = "--time") -> float:
    """Parse a duration such as `8h`, `1h30m` or `90s` into seconds. Raises FigmentError that names `flag`."""
    if not re.fullmatch(r"(\d+(\.\d+)?[dhms])+", text):
        raise FigmentError(f"{flag} {text!r}: must be a duration such as 8h, 90m or 1h30m")
    sec = sum(float(number) * UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([dhms])", text))
    if sec <= 0:
        raise FigmentError(f"{flag} {text!r}: must be above zero")
    return sec


def clock(sec: float) -> str:
    """Format seconds as `1h02m` or `3m20s`."""
    minutes, seconds = divmod(round(sec), 60)
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes >= 60 else f"{minutes}m{seconds:02d}s"
