"""Precision, recall, density and coverage by nearest neighbours, in blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLOCK = 1024
"""Rows of one block of distances: at 10,000 rows on the other side a block takes 82 MB."""


class Neighbours(NamedTuple):
    """How two sets of features overlap; all but density lie between 0 and 1."""

    precision: float
    """Share of the fakes that lie within the reals: how many look right."""
    recall: float
    """Share of the reals that lie within the fakes: how much of the variety is there."""
    density: float
    """In how many reals' neighbourhoods a fake lies, over k; about 1 for equal distributions. Outliers weigh little."""
    coverage: float
    """Share of the reals with a fake in their neighbourhood."""


def neighbours(
    real: np.ndarray,  # [m, D]
    fake: np.ndarray,  # [n, D]
    k: int = 3,  # neighbours that span the manifolds of precision and recall (Kynkaanniemi 2019)
    k_density: int = 5,  # neighbours of density and coverage (Naeem 2020)
    block: int = BLOCK,  # rows at a time
) -> Neighbours:
    """Improved precision and recall (Kynkaanniemi 2019, equation 2), density and coverage (Naeem 2020, section 3)."""
    fewest = max(k, k_density) + 1
    if min(len(real), len(fake)) < fewest:
        raise ValueError(f"neighbours of {len(real)} reals and {len(fake)} fakes: each side needs {fewest}")
    around_real = radii(real, (k, k_density), block)  # [m, 2], squared
    around_fake = radii(fake, (k,), block)  # [n, 1]

    inside = np.zeros(len(fake), bool)  # fakes within some real's neighbourhood
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    hits = 0
    for start in range(0, len(real), block):
        rows = slice(start, start + block)
        apart = squared_distances(real[rows], fake)  # [block, n]
        inside |= (apart <= around_real[rows, :1]).any(0)
        recalled[rows] = (apart <= around_fake[:, 0]).any(1)
        near = apart <= around_real[rows, 1:]
        covered[rows] = near.any(1)
        hits += int(near.sum())
    return Neighbours(
        float(inside.mean()), float(recalled.mean()), hits / (k_density * len(fake)), float(covered.mean())
    )


def radii(
    x: np.ndarray,  # [n, D]
    ks: tuple[int, ...],  # which neighbours
    block: int = BLOCK,
) -> np.ndarray:
    """The squared distance of each row to its k-th nearest other row, for each k: [n, len(ks)]."""
    found = []
    for start in range(0, len(x), block):
        apart = squared_distances(x[start : start + block], x)
        mine = np.arange(len(apart))
        apart[mine, start + mine] = np.inf  # a row is no neighbour of itself
        found.append(np.partition(apart, [k - 1 for k in ks], axis=1)[:, [k - 1 for k in ks]])
    return np.concatenate(found)


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|a - b|^2 of all pairs, float64 [m, n], never below zero."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    apart: np.ndarray = x @ y.T
    apart *= -2
    apart += np.einsum("nd,nd->n", x, x)[:, None]
    apart += np.einsum("nd,nd->n", y, y)
    np.maximum(apart, 0, out=apart)
    return apart
