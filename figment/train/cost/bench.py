"""Time and operations of each phase of a step, and utilization of this machine's peak.

figment bench --resolution 256
figment bench --resolution 512 --preset auto --device cuda
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from figment.base.device import World, describe_device, synchronize
from figment.train.config import TrainConfig
from figment.train.cost.throughput import count_flops, peak_matmul_gflops
from figment.train.execution import warm_up_runs
from figment.train.phases import precision_of
from figment.train.schedule import Due, kinds_of_step
from figment.train.state import new_state
from figment.train.trainer import Trainer, update_ema

IMAGES = 64
"""Random images that a benchmark trains on."""
AUGMENTED_BATCHES = 3
"""Batches that a step augments: reals and fakes for D, fakes for G."""


@dataclass(frozen=True)
class Phase:
    """Cost of one part of training."""

    name: str
    sec: float
    """Seconds per 1,000 images, averaged over the steps that skip it."""
    gflop: float
    """Billions of operations per image in matrix products and convolutions."""


@dataclass(frozen=True)
class Bench:
    """Cost of a configuration on this machine."""

    phases: list[Phase]
    total: float
    """Seconds per 1,000 images of whole steps."""
    gflop: float
    """Billions of operations per image of whole steps."""
    ceiling: float
    """Speed of a large matrix product in the convolutions' precision, in GFLOP/s."""

    @property
    def share(self) -> float:
        """Share of that speed that training reaches, 0 to 1."""
        return self.gflop * 1000 / self.total / self.ceiling


@dataclass(frozen=True)
class Cost:
    """Cost of one call."""

    sec: float
    flop: float

    def per_image(self, name: str, batch: int) -> Phase:
        """Return the phase that this is, if it happens once per batch."""
        return Phase(name, self.sec / batch * 1000, self.flop / batch / 1e9)


def bench(
    config: TrainConfig,
    world: World,
    sec: float = 4.0,  # seconds to spend on each figure
) -> Bench:
    """Measure `config` on random images; a throwaway network is trained."""
    channels, side = config.networks.channels, config.networks.resolution
    data = np.random.default_rng(0).integers(0, 256, (IMAGES, channels, side, side), np.uint8)
    images = torch.from_numpy(data).to(world.device)
    trainer = Trainer(config, new_state(config, world.device), images, world)
    batch = trainer.now.minibatch

    # Whole steps of each kind, and what the regularizers add to them.
    def step_at(number: int) -> Callable[[], object]:
        def step() -> object:
            trainer.state.step = number
            return trainer.step()

        return step

    kinds = kinds_of_step(config.recipe)
    costs = {due: _cost(step_at(kind.step), trainer, sec) for due, kind in kinds.items()}
    total = Cost(
        sum(costs[due].sec * kind.share for due, kind in kinds.items()),
        sum(costs[due].flop * kind.share for due, kind in kinds.items()),
    ).per_image("", batch)
    shares = {due: kind.share for due, kind in kinds.items()}
    regularizers = {
        "R1": _added(costs, shares, [(Due(True, path), Due(False, path)) for path in (True, False)], 0),
        "path length": _added(costs, shares, [(Due(r1, True), Due(r1, False)) for r1 in (False, True)], 1),
    }
    phases = [
        *_phases(trainer, kinds[min(kinds)].step, sec),
        *(cost.per_image(name, batch) for name, cost in regularizers.items() if cost is not None),
    ]
    peak = peak_matmul_gflops(world.device, precision_of(config.recipe), sec)
    return Bench(phases, total.sec, total.gflop, peak)


def _added(
    costs: dict[Due, Cost],
    shares: dict[Due, float],
    pairs: list[tuple[Due, Due]],  # kinds of step with and without a regularizer; the first pair that exists is used
    place: int,  # of the regularizer in Due
) -> Cost | None:
    """Return what a regularizer adds to a step on average; None if no two kinds of step differ in it alone."""
    pair = next((pair for pair in pairs if pair[0] in costs and pair[1] in costs), None)
    if pair is None:
        return None
    often = sum(share for due, share in shares.items() if due[place])
    with_, without = (costs[due] for due in pair)
    return Cost(max(with_.sec - without.sec, 0.0) * often, max(with_.flop - without.flop, 0.0) * often)


def _phases(
    trainer: Trainer,
    step: int,  # number of a step with as few regularizers as there are
    sec: float,
) -> list[Phase]:
    """Return the cost of a step's phases."""
    latents = trainer.sample_latents(torch.Generator().manual_seed(0))
    reals, state = trainer.next_reals(), trainer.state
    state.step = step
    parts: dict[str, Callable[[], object]] = {
        "D": lambda: trainer.d_phase(reals, latents),
        "G": lambda: trainer.g_phase(latents),
        "data": trainer.next_reals,
        "EMA": lambda: update_ema(state.g_ema, state.g, 0.99),
    }
    draws = trainer.draw_augmentation("real")
    if draws is not None:
        parts["augment (in D and G)"] = lambda: [
            trainer.players.seen(reals, {"blur": None, "draws": draws}, "draws") for _ in range(AUGMENTED_BATCHES)
        ]
    batch = trainer.now.minibatch
    return [_cost(part, trainer, sec).per_image(name, batch) for name, part in parts.items()]


def _cost(run: Callable[[], object], trainer: Trainer, sec: float) -> Cost:
    """Return the median time and the counted operations of one call."""
    device = trainer.world.device
    with count_flops(trainer) as counter:
        run()
    for _ in range(warm_up_runs(device)):
        run()
    times: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < sec or len(times) < 3:
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return Cost(float(np.median(times)), float(counter.total))


def print_bench(result: Bench, config: TrainConfig, world: World) -> None:
    """Print the figures as a table."""
    from rich.console import Console
    from rich.table import Table

    networks = config.networks
    table = Table(
        title=f"{networks.family} {networks.resolution}px, batch {config.recipe.batch or 'by resolution'}, "
        f"{config.recipe.precision} on {world.size} x {describe_device(world.device)}"
    )
    for column in ("phase", "s/kimg", "share", "GFLOP/image"):
        table.add_column(column, justify="left" if column == "phase" else "right")
    for phase in result.phases:
        table.add_row(phase.name, f"{phase.sec:.2f}", f"{phase.sec / result.total:.0%}", f"{phase.gflop:.2f}")
    table.add_row("a whole step", f"{result.total:.2f}", "", f"{result.gflop:.2f}", style="bold")
    console = Console()
    console.print(table)
    console.print(
        f"{result.gflop * 1000 / result.total:.0f} GFLOP/s, {result.share:.0%} of a matrix product's "
        f"{result.ceiling:.0f} GFLOP/s",
        highlight=False,
    )
