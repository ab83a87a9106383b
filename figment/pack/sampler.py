"""The endless sampler: which picture is the i-th one shown, for any i, without state."""

from __future__ import annotations

import numpy as np


class EndlessSampler:
    """A fresh permutation of the data set for each epoch, derived from the seed and the epoch alone.

    The position in the stream is the number of images shown so far, so a resumed run, or one on another
    number of ranks, sees the same stream.
    """

    def __init__(
        self,
        size: int,  # pictures in the data set
        seed: int,  # of the run
        mirror: bool = False,  # True: each showing is mirrored with probability 1/2
    ) -> None:
        self.size, self.seed, self.mirror = size, seed, mirror
        self._epoch = -1
        self._order = np.empty(0, np.int64)
        self._flips = np.empty(0, bool)

    def take(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Showings `start` to `start + count`: picture indices int64 [count] and mirror flags bool [count]."""
        indices = np.empty(count, np.int64)
        flips = np.empty(count, bool)
        for i in range(count):
            epoch, place = divmod(start + i, self.size)
            if epoch != self._epoch:
                self._shuffle(epoch)
            indices[i], flips[i] = self._order[place], self._flips[place]
        return indices, flips

    def _shuffle(self, epoch: int) -> None:
        """Draw the order and the flips of `epoch`."""
        rng = np.random.default_rng([self.seed, epoch])
        self._epoch, self._order = epoch, rng.permutation(self.size)
        self._flips = rng.random(self.size) < 0.5 if self.mirror else np.zeros(self.size, bool)
