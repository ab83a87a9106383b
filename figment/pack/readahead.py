"""Where a training's pictures lie: on the device, in memory, or on the disk, read ahead by background workers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from figment.pack.dataset import ImageDataset

DEVICE_SHARE = 0.3
"""Most of a GPU's free memory that pictures may take."""
WORKERS = 4
"""Threads that read and decode; both let go of the interpreter."""


def hold_images(dataset: ImageDataset, device: torch.device) -> torch.Tensor | ReadAhead:
    """The data as uint8 [N, C, H, W] on the device or in memory where it fits, or a reader indexed alike."""
    if dataset.held is None:
        return ReadAhead(dataset)
    images = torch.from_numpy(dataset.held)
    if device.type == "cuda" and images.nbytes > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return images
    return images.to(device)


class ReadAhead:
    """Pictures by index, uint8 [n, C, H, W] on the CPU; those that are expected are read before they are asked for."""

    device = torch.device("cpu")

    def __init__(self, dataset: ImageDataset, workers: int = WORKERS) -> None:
        self.dataset = dataset
        self._pool = ThreadPoolExecutor(workers, "reader")
        self._coming: dict[int, Future[np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def expect(self, indices: Sequence[int] | np.ndarray) -> None:
        """Start reading these; what was expected before and is not any more is forgotten."""
        wanted = {int(index) for index in indices}
        for index in self._coming.keys() - wanted:
            self._coming.pop(index).cancel()
        for index in indices:
            self._read(int(index))

    def __getitem__(self, indices: torch.Tensor) -> torch.Tensor:
        """The pictures of int64 [n]; waits for those that are still being read."""
        futures = [self._read(index) for index in indices.tolist()]
        return torch.from_numpy(np.stack([future.result() for future in futures]))

    def _read(self, index: int) -> Future[np.ndarray]:
        """A picture that is read or will be."""
        if index not in self._coming:
            self._coming[index] = self._pool.submit(self.dataset.read, index)
        return self._coming[index]
