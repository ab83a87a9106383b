"""Parse seeds and durations from the command line, and turn seeds into latents."""

from __future__ import annotations

import math
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


MOST_SEEDS = 100_000
"""Upper limit of seeds in one list."""


def parse_seeds(text: str, flag: str = "--seeds") -> list[int]:
    """Parse `"0-3,7"` into [0, 1, 2, 3, 7]. Raises FigmentError that names `flag`, also for more than MOST_SEEDS."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r" *([0-9]{1,20})(?:-([0-9]{1,20}))? *", part)
        if not match:
            raise FigmentError(f"{flag} {_shown(text)}: must be numbers and ranges such as 0-63 or 1,5,9-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= 2**32:
            raise FigmentError(f"{flag} {_shown(text)}: ranges must be ascending and below 2**32")
        if len(seeds) + last - first >= MOST_SEEDS:
            raise FigmentError(f"{flag} {_shown(text)}: must be at most {MOST_SEEDS} seeds")
        seeds += range(first, last + 1)
    return seeds


def parse_pair(text: str, flag: str) -> tuple[float, float]:
    """Parse `"0.1,-0.2"` into two numbers from -1 to 1. Raises FigmentError that names `flag`."""
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        first = second = math.nan
    if not (-1 <= first <= 1 and -1 <= second <= 1):
        raise FigmentError(f"{flag} {_shown(text)}: must be two numbers from -1 to 1, such as 0.1,-0.2")
    return first, second


def _shown(text: str) -> str:
    """Return the text in quotes for a message, cut if it is long."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
"""Seconds per unit."""
LONGEST = 1000 * UNITS["d"]
"""Longest duration in seconds."""


def parse_duration(text: str, flag: str = "--time") -> float:
    """Parse a duration such as `8h`, `1h30m` or `90s` into seconds. Raises FigmentError that names `flag`."""
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?[dhms])+", text):
        raise FigmentError(f"{flag} {_shown(text)}: must be a duration such as 8h, 90m or 1h30m")
    sec = sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([0-9]+(?:\.[0-9]+)?)([dhms])", text))
    if not 0 < sec <= LONGEST:
        raise FigmentError(f"{flag} {_shown(text)}: must be above zero and at most 1000 days")
    return sec


def clock(sec: float) -> str:
    """Format seconds as `1h02m` or `3m20s`."""
    minutes, seconds = divmod(round(sec), 60)
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes >= 60 else f"{minutes}m{seconds:02d}s"
