"""Where a step's time goes, how much arithmetic it is, and what share of this machine's ceiling that reaches.

figment bench --resolution 256
figment bench --resolution 512 --preset auto --device cuda
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from figment.base.device import World
from figment.pack.sampler import EndlessSampler
from figment.train import step
from figment.train.ceiling import Counter, counting, matmul_ceiling, wait
from figment.train.config import TrainConfig
from figment.train.ema import update_ema
from figment.train.graphs import runs_to_steady
from figment.train.state import State, new_state
from figment.train.step import moment, train_step


@dataclass(frozen=True)
class Phase:
    """One part of a step."""

    name: str
    sec: float
    """Seconds per 1,000 images, spread over the steps that skip it."""
    gflop: float
    """Arithmetic per image in billions of operations, counted; 0 where it is none of the networks'."""


@dataclass(frozen=True)
class Bench:
    """What a configuration costs on this machine."""

    phases: list[Phase]
    total: float
    """Seconds per 1,000 images of whole steps."""
    gflop: float
    """Arithmetic per image of whole steps."""
    ceiling: float
    """Measured speed of a large matrix product in the convolutions' precision, in GFLOP/s."""

    @property
    def share(self) -> float:
        """Share of the ceiling that training reaches."""
        return self.gflop * 1000 / self.total / self.ceiling


def bench(
    config: TrainConfig,
    world: World,
    sec: float = 4.0,  # to spend on each figure
) -> Bench:
    """Measure `config` on random pictures; a throwaway network is trained."""
    state = new_state(config, world.device)
    channels, side = config.networks.channels, config.networks.resolution
    data = np.random.default_rng(0).integers(0, 256, (64, channels, side, side), np.uint8)
    images, sampler = torch.from_numpy(data).to(world.device), EndlessSampler(64, 0, True)
    now, recipe = moment(config, state.nimg, world.size), config.recipe

    # Whole steps of each kind, and what the lazy parts add to them.
    def whole(at: int) -> Callable[[], object]:
        def run() -> object:
            state.step = at
            return train_step(config, state, images, sampler, world)

        return run

    kinds = step.step_kinds(recipe)
    costs = {kind: _cost(whole(at), state, world, sec) for kind, (at, _) in kinds.items()}
    total_sec, total_flop = (sum(costs[kind][i] * share for kind, (_, share) in kinds.items()) for i in (0, 1))
    lazy = []
    for name, pairs in {
        "R1": [((True, p), (False, p)) for p in (True, False)],
        "path length": [((r, True), (r, False)) for r in (False, True)],
    }.items():
        pair = next((pair for pair in pairs if pair[0] in costs and pair[1] in costs), None)
        if pair:
            often = sum(share for kind, (_, share) in kinds.items() if kind[name != "R1"])
            more_sec, more_flop = (max(costs[pair[0]][i] - costs[pair[1]][i], 0.0) * often for i in (0, 1))
            lazy.append((name, more_sec, more_flop))

    # The parts of a step with as few lazy parts as there are.
    latents = step._draw_latents(config, state, torch.Generator().manual_seed(0), now.minibatch, world)
    reals = step._take_reals(state, images, sampler, now, world)
    state.step = min(kinds.items())[1][0]
    parts = {
        "D": lambda: step._step_d(config, state, now, reals, latents, world),
        "G": lambda: step._step_g(config, state, now, latents, world),
        "data": lambda: step._take_reals(state, images, sampler, now, world),
        "EMA": lambda: update_ema(state.g_ema, state.g, 0.99),
    }
    if state.ada is not None:
        augment = step._augmentation(config, state, world)
        draws = step._draws(config, state, "real", now.minibatch, world)
        parts["augment (in D and G)"] = lambda: [augment(reals, draws, slice(None)) for _ in range(3)]
    phases = [(name, *_cost(part, state, world, sec)) for name, part in parts.items()] + lazy
    images_of = now.minibatch / 1000
    dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    return Bench(
        [Phase(name, cost / images_of, flop / now.minibatch / 1e9) for name, cost, flop in phases],
        total_sec / images_of,
        total_flop / now.minibatch / 1e9,
        matmul_ceiling(world.device, dtype, sec),
    )


def _cost(run: Callable[[], object], state: State, world: World, sec: float) -> tuple[float, float]:
    """Median seconds and counted operations of one call."""
    counter = Counter()
    with counting(state, counter):
        run()
    for _ in range(runs_to_steady(world.device)):
        run()
    times: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < sec or len(times) < 3:
        wait(world.device)
        start = time.perf_counter()
        run()
        wait(world.device)
        times.append(time.perf_counter() - start)
    return float(np.median(times)), float(counter.total)


def print_bench(result: Bench, config: TrainConfig, world: World) -> None:
    """The figures as a table."""
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


def describe_device(device: torch.device) -> str:
    """The GPU's name, or the number of CPU threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
