"""Metrics of two sets of features: Frechet distance, kernel distance, precision, recall, density and coverage."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLOCK = 1024
"""Rows of one block of a matrix of all pairs; with 10,000 columns a block takes 82 MB."""


# ---------------------------------------------------------------------- Frechet distance


def frechet_distance(
    mean1: np.ndarray,  # float64 [D]
    cov1: np.ndarray,  # float64 [D, D]
    mean2: np.ndarray,
    cov2: np.ndarray,
) -> float:
    """Return |mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)): FID with the Inception network.

    Dowson & Landau (1982); Heusel et al. (2017, arXiv 1706.08500, equation 6).

    The trace of the matrix square root is the sum of the singular values of A^T B with cov1 = A A^T and cov2 = B B^T.
    This avoids the square root of a product that rounding makes indefinite, and keeps small eigenvalues.
    """
    apart = mean1 - mean2
    shared = np.linalg.svd(_root(cov1).T @ _root(cov2), compute_uv=False).sum()
    return float(apart @ apart + np.trace(cov1) + np.trace(cov2) - 2 * shared)


def _root(cov: np.ndarray) -> np.ndarray:
    """Return A with A A^T = cov, [D, rank], without eigenvalues that are zero up to rounding."""
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    alive = values > values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps
    root: np.ndarray = vectors[:, alive] * np.sqrt(values[alive])
    return root


# ---------------------------------------------------------------------- kernel distance


class KernelDistance(NamedTuple):
    """Squared maximum mean discrepancy: KID with the Inception network, KD with any other."""

    value: float
    """Unbiased estimate, so it may be slightly negative."""
    error: float
    """Standard error."""


def kernel_distance(
    x: np.ndarray,  # [m, D], m >= 3
    y: np.ndarray,  # [n, D], n >= 3
    block: int = BLOCK,  # rows at a time
) -> KernelDistance:
    """Return the unbiased estimate of MMD^2 with k(a, b) = (a.b / D + 1)^3 from all pairs.

    Binkowski et al. (2018, arXiv 1801.01401, section 4). Raises ValueError for fewer than three rows.

    Published programs average over random subsets, which has the same expectation but more variance. The standard error
    is that of the two-sample jackknife (Arvesen 1969) from the same row sums. It is biased upward (Efron & Stein 1981)
    by up to a factor of sqrt(2) if both distributions are equal.
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

    # Leave-one-out estimates follow from the row sums.
    without_x = (a - 2 * xx) / ((m - 1) * (m - 2)) + b / (n * (n - 1)) - 2 * (c - xy) / ((m - 1) * n)
    without_y = a / (m * (m - 1)) + (b - 2 * yy) / ((n - 1) * (n - 2)) - 2 * (c - yx) / (m * (n - 1))
    variance = without_x.var() * (m - 1) + without_y.var() * (n - 1)
    return KernelDistance(float(value), float(np.sqrt(variance)))


def _kernel(dot: np.ndarray, dim: int) -> np.ndarray:
    """Return (dot / dim + 1)^3, computed in place."""
    dot /= dim
    dot += 1
    dot *= dot * dot
    return dot


def _kernel_diagonal(x: np.ndarray) -> np.ndarray:
    """Return k(a, a) for each row, [n]."""
    return _kernel(np.einsum("nd,nd->n", x, x), x.shape[1])


def _row_sums(x: np.ndarray, y: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row sums [m] and column sums [n] of the kernel matrix [m, n], block by block."""
    rows, columns = np.empty(len(x)), np.zeros(len(y))
    for start in range(0, len(x), block):
        part = _kernel(x[start : start + block] @ y.T, x.shape[1])  # [block, n]
        rows[start : start + block] = part.sum(1)
        columns += part.sum(0)
    return rows, columns


# ---------------------------------------------------------------------- nearest neighbors


class Neighbours(NamedTuple):
    """How two sets of features overlap; all values but the density are from 0 to 1."""

    precision: float
    """Share of the fakes inside the manifold of the reals: fidelity."""
    recall: float
    """Share of the reals inside the manifold of the fakes: diversity."""
    density: float
    """Mean number of real neighborhoods that hold a fake, over k; about 1 for equal distributions."""
    coverage: float
    """Share of the reals with a fake in their neighborhood."""


def neighbours(
    real: np.ndarray,  # [m, D]
    fake: np.ndarray,  # [n, D]
    k: int = 3,  # neighbors for precision and recall
    k_density: int = 5,  # neighbors for density and coverage
    block: int = BLOCK,  # rows at a time
) -> Neighbours:
    """Return improved precision and recall, density and coverage.

    Kynkäänniemi et al. (2019, arXiv 1904.06991, equation 2); Naeem et al. (2020, arXiv 2002.09797, section 3). Raises
    ValueError for too few rows.
    """
    fewest = max(k, k_density) + 1
    if min(len(real), len(fake)) < fewest:
        raise ValueError(f"neighbours of {len(real)} reals and {len(fake)} fakes: each side needs {fewest}")
    around_real = radii(real, (k, k_density), block)  # [m, 2], squared
    around_fake = radii(fake, (k,), block)  # [n, 1]

    inside = np.zeros(len(fake), bool)  # fakes inside some real's neighborhood
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
    ks: tuple[int, ...],
    block: int = BLOCK,
) -> np.ndarray:
    """Return the squared distance of each row to its k-th nearest other row for each k, [n, len(ks)]."""
    found = []
    for start in range(0, len(x), block):
        apart = squared_distances(x[start : start + block], x)
        mine = np.arange(len(apart))
        apart[mine, start + mine] = np.inf  # a row is not its own neighbor
        found.append(np.partition(apart, [k - 1 for k in ks], axis=1)[:, [k - 1 for k in ks]])
    return np.concatenate(found)


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return |a - b|^2 of all pairs, float64 [m, n], never negative."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    apart: np.ndarray = x @ y.T
    apart *= -2
    apart += np.einsum("nd,nd->n", x, x)[:, None]
    apart += np.einsum("nd,nd->n", y, y)
    np.maximum(apart, 0, out=apart)
    return apart
