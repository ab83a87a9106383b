"""The Frechet distance between two normal distributions: FID with the Inception network, FD with any other."""

from __future__ import annotations

import numpy as np


def frechet_distance(
    mean1: np.ndarray,  # float64 [D]
    cov1: np.ndarray,  # float64 [D, D]
    mean2: np.ndarray,
    cov2: np.ndarray,
) -> float:
    """|mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)) (Dowson and Landau 1982; Heusel 2017, equation 6).

    The trace of the matrix square root is the sum of the singular values of A^T B, where cov1 = A A^T and cov2 = B B^T:
    no square root of a product that rounding made indefinite, and no small eigenvalue lost by squaring.
    """
    apart = mean1 - mean2
    shared = np.linalg.svd(_root(cov1).T @ _root(cov2), compute_uv=False).sum()
    return float(apart @ apart + np.trace(cov1) + np.trace(cov2) - 2 * shared)


def _root(cov: np.ndarray) -> np.ndarray:
    """A with A A^T = cov, [D, rank]; what rounding left of zero eigenvalues is dropped."""
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    alive = values > values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps
    root: np.ndarray = vectors[:, alive] * np.sqrt(values[alive])
    return root
