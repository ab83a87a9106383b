"""How fast training runs: seconds per 1,000 images, operations per step, and utilization of the device's peak.

with count_flops(trainer) as counter:
    trainer.step()
counter.total                                        # operations of the step
measure_sec_per_kimg(config, dataset, world)         # a short trial before a run
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from figment.base.device import World, synchronize
from figment.pack.dataset import ImageDataset
from figment.pack.readahead import hold_images
from figment.train.config import TrainConfig
from figment.train.execution import warm_up_runs
from figment.train.phases import precision_of
from figment.train.schedule import Due, kinds_of_step
from figment.train.state import new_state
from figment.train.trainer import Trainer

TRIAL_STEPS = 3
"""Steps of each kind that a trial times, after the warm-up."""
PEAK_SEC = 0.3
"""Seconds that a run spends on measuring the device's peak matmul speed."""


class FlopCounter(TorchDispatchMode):
    """Counts multiplications and additions of matrix products and convolutions, forward and backward."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        """Operations so far."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and add its count."""
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


@contextmanager
def count_flops(trainer: Trainer) -> Iterator[FlopCounter]:
    """Count the operations of a trainer's steps, with CUDA graphs disabled, which would hide them from the counter."""
    with trainer.executor.graphs.disabled(), FlopCounter() as counter:
        yield counter


class Utilization:
    """Share of the device's peak matmul speed that a run reaches (MFU). The first step of each kind is counted."""

    def __init__(self, config: TrainConfig, world: World) -> None:
        self.recipe, self.world = config.recipe, world
        self.kinds = {} if config.schedule.growing else kinds_of_step(config.recipe)
        self.flops: dict[Due, int] = {}
        """Operations of one step on this rank, by kind."""
        self.peak_gflops = 0.0
        """Peak speed in GFLOP/s; 0 until it is measured."""

    def counting(self, trainer: Trainer) -> AbstractContextManager[object]:
        """Return the context to run the next step in: it counts the first step of each kind."""
        due = trainer.due
        return self._count(trainer, due) if due in self.kinds and due not in self.flops else nullcontext()

    @contextmanager
    def _count(self, trainer: Trainer, due: Due) -> Iterator[None]:
        with count_flops(trainer) as counter:
            yield
        self.flops[due] = counter.total

    def share(self, sec_per_kimg: float) -> float | None:
        """Return the utilization at this speed, 0 to 1.

        None until every kind of step was counted, and for networks that grow.
        """
        if not self.kinds or self.kinds.keys() - self.flops.keys():
            return None
        if not self.peak_gflops:
            self.peak_gflops = peak_matmul_gflops(self.world.device, precision_of(self.recipe), PEAK_SEC)
        # Each rank counts its own share of the batch: this is what one device does per step.
        step = sum(self.flops[due] * kind.share for due, kind in self.kinds.items())
        return step / 1e9 / (sec_per_kimg * self.recipe.batch / 1000) / self.peak_gflops


def peak_matmul_gflops(device: torch.device, dtype: torch.dtype, sec: float) -> float:
    """Return the speed of a large square matrix product in GFLOP/s, the best of `sec` seconds."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < sec or best == float("inf"):
        synchronize(device)
        start = time.perf_counter()
        a @ b
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9


def measure_sec_per_kimg(config: TrainConfig, dataset: ImageDataset, world: World) -> float:
    """Return the seconds per 1,000 images of `config` on this machine, from a few steps of each kind.

    A throwaway network is trained. The result is the mean over all ranks.
    """
    trainer = Trainer(config, new_state(config, world.device), hold_images(dataset, world.device), world)

    def timed(step: int) -> float:
        trainer.state.step = step
        start = time.perf_counter()
        trainer.step()
        synchronize(world.device)
        return time.perf_counter() - start

    # Regularizers are due in some steps only: each kind of step counts by its share.
    kinds = kinds_of_step(config.recipe).values()
    for kind in kinds:
        for _ in range(warm_up_runs(world.device)):
            timed(kind.step)
    sec_per_step = sum(kind.share * statistics.median(timed(kind.step) for _ in range(TRIAL_STEPS)) for kind in kinds)
    mean = world.mean(torch.tensor(sec_per_step, device=world.device))  # every rank must plan the same length
    return float(mean) / trainer.now.minibatch * 1000
