"""Mean, covariance and a fair sample of features, streamed: the same bits in any order and any batch size."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter

import numpy as np

HIGH_BITS, LOW_BITS = 11, 17
"""A feature is held as a multiple of scale / 2**28: a coarse part in steps of 2**-11 and the rest."""
PENDING = 256
"""Rows that wait for one matrix product; it has no influence on the result."""


class Moments:
    """Running mean and covariance of features [n, D], free of rounding while they are summed.

    Each feature is split into two whole numbers of at most 18 bits (the idea of Ozaki et al. 2012, error-free splitting
    for matrix products), whose products float64 adds without rounding for up to 2**18 rows with |feature| < 64 scale.
    So no order of the rows and no batch size changes a bit. Larger features or more rows cost exactness, not accuracy.
    Memory: four D x D matrices of float64, 134 MB at D = 2048.
    """

    def __init__(
        self,
        dim: int,  # D, the length of a feature vector
        scale: float = 1.0,  # the usual size of a feature, a power of two
    ) -> None:
        self.dim, self.scale, self.count = dim, scale, 0
        self._sums = np.zeros((2, dim))  # of the coarse parts and of the rest
        self._products = np.zeros((3, dim, dim))  # coarse x coarse, coarse x rest, rest x rest
        self._pending: list[np.ndarray] = []

    def add(self, features: np.ndarray) -> None:
        """Take in `features` [n, D]."""
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise ValueError(f"features of shape {features.shape}, must be [n, {self.dim}]")
        self.count += len(features)
        for start in range(0, len(features), PENDING):
            self._pending.append(np.array(features[start : start + PENDING], np.float64))
            if sum(map(len, self._pending)) >= PENDING:
                self._flush()

    def merge(self, other: Moments) -> None:
        """Take in everything that `other` has seen."""
        self._flush()
        other._flush()
        self.count += other.count
        self._sums += other._sums
        self._products += other._products

    def _flush(self) -> None:
        """Add the rows that wait to the sums."""
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
        """The mean, float64 [D]."""
        self._flush()
        total: np.ndarray = self._sums[0] + self._sums[1] * 2.0**-LOW_BITS
        return total * (self.scale * 2.0**-HIGH_BITS) / max(self.count, 1)

    @property
    def cov(self) -> np.ndarray:
        """The covariance with n - 1 in the denominator, as numpy.cov and the field's FID have it: float64 [D, D]."""
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
    """At most `size` rows of a stream, chosen and sorted by their keys alone, so that its order does not matter.

    Equal keys (the same picture twice) are told apart by how often they have come, so each showing has its own chance.
    """

    def __init__(
        self,
        size: int,  # rows to keep; their memory is size x D x 4 bytes
    ) -> None:
        self.size = size
        self._seen: Counter[bytes] = Counter()
        self._kept: list[tuple[int, np.ndarray]] = []  # a heap of negated ranks; the largest rank is on top

    def add(
        self,
        features: np.ndarray,  # [n, D]
        keys: list[bytes],  # one a row, see `key_of`
    ) -> None:
        for row, key in zip(features, keys, strict=True):
            self._seen[key] += 1
            rank = int.from_bytes(key_of(key + self._seen[key].to_bytes(8, "big")), "big")
            item = (-rank, np.array(row, np.float32))
            if len(self._kept) < self.size:
                heapq.heappush(self._kept, item)
            elif item[0] > self._kept[0][0]:
                heapq.heapreplace(self._kept, item)

    def rows(self) -> np.ndarray:
        """The kept rows, float32 [n, D], in an order of their own."""
        return np.stack([row for _, row in sorted(self._kept, key=lambda item: item[0], reverse=True)])


def key_of(data: bytes) -> bytes:
    """What a picture is recognised by: 16 bytes that depend on its content alone."""
    return hashlib.blake2b(data, digest_size=16).digest()
