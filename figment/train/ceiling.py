"""How much arithmetic training does, counted, and what share of the machine's ceiling that is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from figment.base.device import World
from figment.train.config import TrainConfig
from figment.train.state import State
from figment.train.step import lazy_parts, step_kinds

QUICK_SEC = 0.3
"""Time that a run spends on measuring the ceiling."""


class Counter(TorchDispatchMode):
    """Counts multiplications and additions of matrix products and convolutions, forward and backward."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


@contextmanager
def counting(state: State, counter: Counter) -> Iterator[None]:
    """Count what the state's steps do, which no graph may hide meanwhile."""
    state.graphs.counted = True
    try:
        with counter:
            yield
    finally:
        state.graphs.counted = False


class Ceiling:
    """The share of the ceiling that a run reaches: the first step of each kind is counted while it trains."""

    def __init__(self, config: TrainConfig, world: World) -> None:
        self.recipe, self.world = config.recipe, world
        self.kinds = {} if config.schedule.growing else step_kinds(config.recipe)
        self.counters: dict[tuple[bool, bool], Counter] = {}
        self.gflops = 0.0

    def counting(self, state: State) -> AbstractContextManager[Any]:
        """What the next step runs in."""
        kind = lazy_parts(self.recipe, state.step)
        if kind not in self.kinds or kind in self.counters:
            return nullcontext()
        self.counters[kind] = Counter()
        return counting(state, self.counters[kind])

    def share(self, sec_per_kimg: float) -> float | None:
        """The share at this pace, 0 to 1; None before every kind of step was counted, and for growing networks."""
        if not self.kinds or self.kinds.keys() - self.counters.keys():
            return None
        if not self.gflops:
            dtype = torch.bfloat16 if self.recipe.precision == "bf16" else torch.float32
            self.gflops = matmul_ceiling(self.world.device, dtype, QUICK_SEC)
        # Each rank counts its own share of a batch, so that this is what one card does for a step.
        step = sum(self.counters[kind].total * often for kind, (_, often) in self.kinds.items())
        return step / 1e9 / (sec_per_kimg * self.recipe.batch / 1000) / self.gflops


def matmul_ceiling(device: torch.device, dtype: torch.dtype, sec: float) -> float:
    """GFLOP/s of a large square matrix product: what this machine can do at best."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < sec or best == float("inf"):
        wait(device)
        start = time.perf_counter()
        a @ b
        wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
