"""Hold training images on the device or in memory, or read them ahead from disk in background threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from figment.pack.dataset import ImageDataset

DEVICE_SHARE = 0.3
"""Largest share of a GPU's free memory that images may take."""
WORKERS = 4
"""Threads that read and decode images; both tasks release the GIL."""


def hold_images(dataset: ImageDataset, device: torch.device) -> torch.Tensor | ReadAhead:
    """Return the images, uint8 [N, C, H, W], on the device or in memory if they fit, else a `ReadAhead`."""
    if dataset.held is None:
        return ReadAhead(dataset)
    images = torch.from_numpy(dataset.held)
    if device.type == "cuda" and images.nbytes > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return images
    return images.to(device)


class ReadAhead:
    """A data set on disk, indexed like a tensor uint8 [N, C, H, W] on the CPU; expected images are read in advance."""

    device = torch.device("cpu")

    def __init__(self, dataset: ImageDataset, workers: int = WORKERS) -> None:
        self.dataset = dataset
        self._pool = ThreadPoolExecutor(workers, "reader")
        self._coming: dict[int, Future[np.ndarray]] = {}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    @property
    def expected(self) -> set[int]:
        """Return the indices of images that are read or being read."""
        return set(self._coming)

    def wait(self) -> None:
        """Wait until all expected images are read."""
        for future in list(self._coming.values()):
            future.result()

    def expect(self, indices: Sequence[int] | np.ndarray) -> None:
        """Start reading the images of `indices`; drop images expected earlier that are not among them."""
        wanted = {int(index) for index in indices}
        for index in self._coming.keys() - wanted:
            self._coming.pop(index).cancel()
        for index in indices:
            self._read(int(index))

    def __getitem__(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the images of `indices`, int64 [n]; wait for those that are still being read."""
        futures = [self._read(index) for index in indices.tolist()]
        return torch.from_numpy(np.stack([future.result() for future in futures]))

    def _read(self, index: int) -> Future[np.ndarray]:
        """Return the future of an image, uint8 [C, H, W]; start reading it if it is not expected."""
        if index not in self._coming:
            self._coming[index] = self._pool.submit(self.dataset.read, index)
        return self._coming[index]
