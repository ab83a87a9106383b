"""How surely a crop shows a head: so far the detector's own confidence, kept as a measure like any other."""

from __future__ import annotations

from figment.base.records import Head


def measure_headness(
    head: Head,
) -> dict[str, float]:
    """The measure `headness` of a crop, 0 to 1."""
    return {"headness": round(head.score, 4)}
