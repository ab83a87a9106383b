"""Durations as people type them."""

from __future__ import annotations

import re

from figment.base.errors import FigmentError

UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def parse_duration(text: str, flag: str = "--time") -> float:
    """`8h`, `1h30m`, `90s` in seconds; raises FigmentError that names `flag`, the value and the rule."""
    if not re.fullmatch(r"(\d+(\.\d+)?[dhms])+", text):
        raise FigmentError(f"{flag} {text!r}: must be a duration such as 8h, 90m or 1h30m")
    sec = sum(float(number) * UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([dhms])", text))
    if sec <= 0:
        raise FigmentError(f"{flag} {text!r}: must be above zero")
    return sec


def clock(sec: float) -> str:
    """Seconds as `1h02m` or `3m20s`."""
    minutes, seconds = divmod(round(sec), 60)
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes >= 60 else f"{minutes}m{seconds:02d}s"
