"""Streaming mean, covariance and random sample of features, bit-identical in any order and batch size."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter

import numpy as np

HIGH_BITS, LOW_BITS = 11, 17
"""Bits of a feature's two parts: multiples of scale * 2**-11, and the rest in steps of scale * 2**-28."""
PENDING = 256
"""Rows per matrix product; it does not influence the result."""


class Moments:
    """Running mean and covariance of features [n, D], summed without rounding.

    Each feature is split into two whole numbers of at most 18 bits (error-free splitting for matrix products, Ozaki
    et al. 2012), whose products float64 adds exactly for up to 2**18 rows with |feature| < 64 scale. So neither the
    order of the rows nor the batch size changes a bit. Larger features or more rows cost this exactness, but not
    accuracy. Memory: four D x D matrices of float64, 134 MB at D = 2048.
    """

    def __init__(
        self,
        dim: int,  # D, the length of a feature vector
        scale: float = 1.0,  # usual magnitude of a feature, a power of two
    ) -> None:
        self.dim, self.scale, self.count = dim, scale, 0
        self._sums = np.zeros((2, dim))  # of the coarse parts and of the rest
        self._products = np.zeros((3, dim, dim))  # coarse x coarse, coarse x rest, rest x rest
        self._pending: list[np.ndarray] = []

    def add(self, features: np.ndarray) -> None:
        """Add `features` [n, D]; raises ValueError for other shapes."""
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(f"features of shape {features.shape}, must be [n, {self.dim}]")
        self.count += len(features)
        for start in range(0, len(features), PENDING):
            self._pending.append(np.array(features[start : start + PENDING], np.float64))
            if sum(map(len, self._pending)) >= PENDING:
                self._flush()

    def merge(self, other: Moments) -> None:
        """Add everything that `other` has seen."""
        self._flush()
        other._flush()
        self.count += other.count
        self._sums += other._sums
        self._products += other._products

    def _flush(self) -> None:
        """Add the pending rows to the sums."""
        if not self._pending:
            return
        rows = np.concatenate(self._pending) * (2.0**HIGH_BITS / self.scale)  # [n, D]
        self._pending = []
        high = np.rint(rows)
        low = np.rint((rows - high) * 2.0**LOW_BITS)
        self._sums += high.sum(0), low.sum(0)
        for total, (a, b) in zip(self._products, ((high, high), (high, low), (low, low)), strict=True):
            total += a.T @ b

    @property
    def mean(self) -> np.ndarray:
        """Mean, float64 [D]."""
        self._flush()
        total: np.ndarray = self._sums[0] + self._sums[1] * 2.0**-LOW_BITS
        return total * (self.scale * 2.0**-HIGH_BITS) / max(self.count, 1)

    @property
    def cov(self) -> np.ndarray:
        """Covariance with n - 1 in the denominator, like numpy.cov and published FID, float64 [D, D]."""
        self._flush()
        if self.count < 2:
            raise ValueError("a covariance needs at least two rows")
        mean = self.mean
        total: np.ndarray = self._products[1] + self._products[1].T
        total *= 2.0**-LOW_BITS
        total += self._products[0]
        total += self._products[2] * 2.0 ** (-2 * LOW_BITS)
        total *= (self.scale * 2.0**-HIGH_BITS) ** 2
        total -= self.count * np.outer(mean, mean)
        total /= self.count - 1
        return total


class Sample:
    """At most `size` rows of a stream, chosen and sorted by their keys alone, whatever the order of the stream.

    Equal keys (the same image twice) are numbered, so that each occurrence has its own chance.
    """

    def __init__(
        self,
        size: int,  # rows to keep, of 4 D bytes each
    ) -> None:
        self.size = size
        self._seen: Counter[bytes] = Counter()
        self._kept: list[tuple[int, np.ndarray]] = []  # a heap of negated ranks; the largest rank is on top

    def add(
        self,
        features: np.ndarray,  # [n, D]
        keys: list[bytes],  # one per row, see `key_of`
    ) -> None:
        """Add rows; those whose keys don't rank among the first `size` are dropped."""
        for row, key in zip(features, keys, strict=True):
            self._seen[key] += 1
            rank = int.from_bytes(key_of(key + self._seen[key].to_bytes(8, "big")), "big")
            item = (-rank, np.array(row, np.float32))
            if len(self._kept) < self.size:
                heapq.heappush(self._kept, item)
            elif item[0] > self._kept[0][0]:
                heapq.heapreplace(self._kept, item)

    def rows(self) -> np.ndarray:
        """Return the kept rows, float32 [n, D], in the order of their keys."""
        return np.stack([row for _, row in sorted(self._kept, key=lambda item: item[0], reverse=True)])


def key_of(data: bytes) -> bytes:
    """Return a hash of the content of an image, 16 bytes."""
    return hashlib.blake2b(data, digest_size=16).digest()
