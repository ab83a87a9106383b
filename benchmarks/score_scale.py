"""Measure memory and exactness of the scores at full size: twice 50,000 features of 2,048, in any order and batch.

    python benchmarks/score_scale.py
    python benchmarks/score_scale.py --count 5000 --dim 512

Streams random features through the code of `figment score` in several orders and batch sizes. Prints the peak memory
above that of importing torch, the largest relative difference of each score between the passes, and the relative
difference of the Frechet and kernel distances to scipy's matrix square root and to a plain float64 estimate.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator

import numpy as np
import scipy.linalg
import torch

from figment.score.features import FeatureNetwork
from figment.score.metrics import frechet_distance, kernel_distance
from figment.score.reference import Gathering, Statistics
from figment.score.score import compare_statistics
from figment.score.statistics import key_of

CHUNK = 1000
"""Features per chunk. Each chunk has its own seed, so that chunks can be streamed in any order."""


class Noise(FeatureNetwork):
    """Stand in for a feature network with features of a given length."""

    name, label, size, scale = "noise", "noise", 8, 1.0

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def compute(self, pixels: torch.Tensor) -> np.ndarray:
        raise NotImplementedError


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def chunk(side: int, index: int, dim: int) -> np.ndarray:
    """Return features like those after a ReLU, non-negative and correlated: float32 [CHUNK, dim]."""
    rng = np.random.default_rng([side, index])
    rows = rng.standard_normal((CHUNK, dim), np.float32)
    rows[:, 1:] += 0.5 * rows[:, :-1]
    return np.maximum(rows * (0.4 + 0.02 * side) + 0.2, 0)


def stream(side: int, count: int, dim: int, seed: int | None) -> Iterator[tuple[np.ndarray, list[bytes]]]:
    """Yield features and keys in batches: seed None in order, 256 each; otherwise shuffled, 1 to 97 each."""
    rng = np.random.default_rng(seed)
    chunks = np.arange(-(-count // CHUNK))
    for index in chunks if seed is None else rng.permutation(chunks):
        rows = chunk(side, int(index), dim)[: count - int(index) * CHUNK]
        if seed is not None:
            rows = rows[rng.permutation(len(rows))]
        at = 0
        while at < len(rows):
            part = rows[at : at + (256 if seed is None else int(rng.integers(1, 98)))]
            yield part, [key_of(row.tobytes()) for row in part]
            at += len(part)


def gather(side: int, count: int, dim: int, sample: int, seed: int | None) -> Statistics:
    gathering = Gathering(Noise(dim), sample)
    for rows, keys in stream(side, count, dim, seed):
        gathering.add_features(rows, keys)
    return gathering.result()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--sample", type=int, default=5000)
    options = parser.parse_args()
    torch.zeros(1)
    bare = peak_mb()

    found = []
    for seed in (None, 1):
        start = time.monotonic()
        real, fake = (gather(side, options.count, options.dim, options.sample, seed) for side in (0, 1))
        middle = time.monotonic()
        found.append(compare_statistics(fake, real))
        print(
            f"{'in order' if seed is None else 'shuffled'}: streamed in {middle - start:.0f} s, "
            f"scored in {time.monotonic() - middle:.0f} s, peak {peak_mb() - bare:.0f} MB above {bare:.0f} MB"
        )
    for name, value in found[0].items():
        if name != "sample":
            apart = abs(found[1][name] / value - 1) if value else 0.0
            print(f"{name:14}{value:<24.15g}{apart:.1e} relative difference")

    # Comparisons; their memory doesn't matter.
    root = scipy.linalg.sqrtm(real.cov @ fake.cov).real
    plain = ((real.mean - fake.mean) ** 2).sum() + np.trace(real.cov + fake.cov - 2 * root)
    ours = frechet_distance(real.mean, real.cov, fake.mean, fake.cov)
    print(f"Frechet against scipy.linalg.sqrtm: {abs(ours / plain - 1):.1e} relative difference")
    x, y = (part.sample[:2000].astype(np.float64) for part in (real, fake))
    k = [(a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    m, n = len(x), len(y)
    slow = (
        (k[0].sum() - np.trace(k[0])) / (m * (m - 1)) + (k[1].sum() - np.trace(k[1])) / (n * (n - 1)) - 2 * k[2].mean()
    )
    print(f"kernel against plain float64: {abs(kernel_distance(x, y).value / slow - 1):.1e} relative difference")


if __name__ == "__main__":
    main()
