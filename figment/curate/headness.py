"""How surely it is a head: what the crop stage's network said of the crop, or else the detector's confidence."""

from __future__ import annotations

from collections.abc import Mapping

from figment.base.records import Head


def measure_headness(
    head: Head,
    known: Mapping[str, float | str] | None = None,  # measures that the crop stage wrote; None: none
) -> dict[str, float]:
    """The measure `headness` of a crop, 0 to 1; nothing where the crop stage wrote it, which an embedding shows."""
    if known and "embedding" in known and "headness" in known:
        return {}
    return {"headness": round(head.score, 4)}
