"""Sample images endlessly: compute the i-th image of the training stream for any i, without stored state."""

from __future__ import annotations

import numpy as np


class EndlessSampler:
    """A stream with a new permutation of the data set in each epoch, derived only from the seed and the epoch.

    The position in the stream is the number of images shown so far, so a resumed run, or a run on another number of
    ranks, sees the same stream.
    """

    def __init__(
        self,
        size: int,  # images in the data set
        seed: int,  # seed of the run
        mirror: bool = False,  # True: flip each image horizontally with probability 1/2, redrawn each epoch
    ) -> None:
        self.size, self.seed, self.mirror = size, seed, mirror
        self._epoch = -1
        self._order = np.empty(0, np.int64)
        self._flips = np.empty(0, bool)

    def take(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `count` image indices, int64 [count], and flip flags, bool [count], from position `start` on."""
        indices = np.empty(count, np.int64)
        flips = np.empty(count, bool)
        for i in range(count):
            epoch, place = divmod(start + i, self.size)
            if epoch != self._epoch:
                self._shuffle(epoch)
            indices[i], flips[i] = self._order[place], self._flips[place]
        return indices, flips

    def _shuffle(self, epoch: int) -> None:
        """Draw the order and the flip flags of an epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        self._epoch, self._order = epoch, rng.permutation(self.size)
        self._flips = rng.random(self.size) < 0.5 if self.mirror else np.zeros(self.size, bool)
