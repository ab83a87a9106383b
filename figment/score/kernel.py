"""The kernel distance (squared maximum mean discrepancy): KID with the Inception network, KD with any other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLOCK = 1024
"""Rows of one block of the kernel matrix: at 10,000 rows on the other side a block takes 82 MB."""


class KernelDistance(NamedTuple):
    """An estimate and how far off it may be."""

    value: float
    """Unbiased; so it may come out slightly negative."""
    error: float
    """Standard error."""


def kernel_distance(
    x: np.ndarray,  # [m, D], m >= 3
    y: np.ndarray,  # [n, D], n >= 3
    block: int = BLOCK,  # rows at a time
) -> KernelDistance:
    """The unbiased estimate of MMD^2 under k(a, b) = (a.b / D + 1)^3 from all pairs (Binkowski 2018, section 4).

    Published programs average it over random subsets, which has the same expectation and needs luck. The standard error
    is the two-sample jackknife's (Arvesen 1969), from the same sums of rows; it errs on the large side (Efron and Stein
    1981) by up to a factor of sqrt(2), where both distributions are equal.
    """
    m, n = len(x), len(y)
    if min(m, n) < 3:
        raise ValueError(f"the kernel distance needs three rows on each side, not {m} and {n}")
    x, y = x.astype(np.float64), y.astype(np.float64)
    xx, _ = _row_sums(x, x, block)
    yy, _ = _row_sums(y, y, block)
    xy, yx = _row_sums(x, y, block)  # [m], [n]
    xx, yy = xx - _kernel_diagonal(x), yy - _kernel_diagonal(y)

    a, b, c = xx.sum(), yy.sum(), xy.sum()
    value = a / (m * (m - 1)) + b / (n * (n - 1)) - 2 * c / (m * n)

    # The estimate without each row in turn: what it loses is known from the row's sums.
    without_x = (a - 2 * xx) / ((m - 1) * (m - 2)) + b / (n * (n - 1)) - 2 * (c - xy) / ((m - 1) * n)
    without_y = a / (m * (m - 1)) + (b - 2 * yy) / ((n - 1) * (n - 2)) - 2 * (c - yx) / (m * (n - 1))
    variance = without_x.var() * (m - 1) + without_y.var() * (n - 1)
    return KernelDistance(float(value), float(np.sqrt(variance)))


def _kernel(dot: np.ndarray, dim: int) -> np.ndarray:
    """(dot / dim + 1)^3, in place."""
    dot /= dim
    dot += 1
    dot *= dot * dot
    return dot


def _kernel_diagonal(x: np.ndarray) -> np.ndarray:
    """k(a, a) for each row, [n]."""
    return _kernel(np.einsum("nd,nd->n", x, x), x.shape[1])


def _row_sums(x: np.ndarray, y: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """The sums of the kernel matrix [m, n] over its rows [m] and columns [n], block by block."""
    rows, columns = np.empty(len(x)), np.zeros(len(y))
    for start in range(0, len(x), block):
        part = _kernel(x[start : start + block] @ y.T, x.shape[1])  # [block, n]
        rows[start : start + block] = part.sum(1)
        columns += part.sum(0)
    return rows, columns
