"""The training loop.

figment train heads-64.zip -o runs --kimg 200
figment train heads-64.zip -o runs --resume
torchrun --nproc-per-node 2 -m figment train heads-256.zip -o runs
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from figment.base.device import World, peak_memory
from figment.base.errors import FigmentError
from figment.base.files import write_json, write_text
from figment.base.parse import clock, seeds_to_z
from figment.base.pixels import to_uint8, write_png
from figment.base.progress import LiveBar, say
from figment.draw.grid import make_grid, on_squares
from figment.nets.checkpoint import Model, save
from figment.pack.dataset import ImageDataset
from figment.pack.readahead import hold_images
from figment.pack.sampler import EndlessSampler
from figment.score.monitor import SCORES, best_kimg, read_rows
from figment.train.board import Board
from figment.train.ceiling import Ceiling
from figment.train.config import TrainConfig
from figment.train.state import State, checkpoints, load_newest, new_state, save_checkpoint
from figment.train.step import moment, train_step

AGREE_STEPS = 4
"""Ranks ask each other so often whether one was told to stop."""
MOST_ROLLBACKS = 5
"""Rollbacks after which a run gives up."""


class Stop:
    """Notices SIGTERM and Ctrl-C, so that the loop can end between two steps."""

    def __init__(self) -> None:
        self.asked, self.hasty = False, False

    def __enter__(self) -> Stop:
        self._old = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self.hasty:
            self.hasty = False
            raise KeyboardInterrupt

    def cutting_short(self, work: Callable[[], str | None]) -> str | None:
        """What `work` returns; None where a signal came, which ends it at once: scores may take long, and can wait."""
        self.hasty = True
        try:
            return None if self.asked else work()
        except KeyboardInterrupt:
            return None
        finally:
            self.hasty = False

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)


def train(
    config: TrainConfig,
    run: Path,  # the run's folder; a run that is already in it goes on
    dataset: ImageDataset,
    world: World,
    on_tick: Callable[[State], str | None] = lambda state: None,  # scores a tick; tells of a collapse
) -> bool:
    """Train until `kimg`; returns False where a signal ended it early, with a checkpoint written."""
    state = new_state(config, world.device, init=not checkpoints(run))
    _begin(config, run, state, dataset, world)
    board = Board(run, state.nimg) if config.schedule.tensorboard and world.is_main else None
    images = hold_images(dataset, world.device)
    sampler = EndlessSampler(len(dataset), config.schedule.seed, config.recipe.mirror)
    total = round((config.schedule.start_kimg + config.schedule.kimg) * 1000)

    with Stop() as stop, LiveBar("training", total / 1000, "kimg") as live:
        meter, rollbacks, stopped = Meter(state.nimg), 0, False
        ceiling = Ceiling(config, world)
        while state.nimg < total and not stopped:
            with ceiling.counting(state):
                stats = train_step(config, state, images, sampler, world)
            meter.add(state, stats)
            if world.is_main:
                live.move(state.nimg / 1000, meter.pace(state, total))
            if state.step % AGREE_STEPS == 0 or world.size == 1:
                stopped = world.any(stop.asked)
            if state.nimg < total and state.nimg < _next_tick(config, state, world):
                continue

            # A tick: statistics, a grid of fakes, a checkpoint, one line. A broken state goes back to a good one.
            live.clear()
            row = meter.row(state, world)
            broken = diagnose(row, state)
            if broken:
                rollbacks += 1
                _roll_back(run, state, world, broken, rollbacks)
            else:
                state.history.append(row)
                fakes = _publish(config, run, state, dataset, world)
                if board is not None:
                    board.tick(row, fakes)
                if world.is_main:
                    say(_status(run, state, total, ceiling.share(row["sec_per_kimg"])))
                collapsed = stop.cutting_short(lambda: on_tick(state))
                stopped = stopped or world.any(stop.asked)
                if world.any(bool(collapsed)):
                    rollbacks += 1
                    _roll_back(run, state, world, collapsed or "", rollbacks, best_kimg(run))
            meter = Meter(state.nimg)
        if board is not None:
            board.close()
        if stopped and world.is_main:
            save_checkpoint(run, state, config.schedule.keep, best_kimg(run))
            say(f"stopped at {state.nimg / 1000:.1f} kimg; go on with: figment train --resume -o {run}")
        return not stopped


def _next_tick(config: TrainConfig, state: State, world: World) -> float:
    """The image at which the current tick ends."""
    last = state.history[-1]["kimg"] if state.history else config.schedule.start_kimg
    return round((last + moment(config, state.nimg, world.size).tick_kimg) * 1000)


def diagnose(row: dict[str, float], state: State) -> str | None:
    """What is broken after a tick, or None: numbers that are none, or a discriminator that nothing can fool."""
    strange = [name for name, value in row.items() if not math.isfinite(value)]
    if strange:
        return f"{', '.join(strange)} are no numbers any more"
    if not all(bool(parameter.isfinite().all()) for parameter in state.g_ema.parameters()):
        return "weights are no numbers any more"
    if row["sign_real"] > 0.999 and row["sign_fake"] < -0.999 and row["loss_g"] > 15:
        return f"the discriminator can't be fooled any more (G's loss {row['loss_g']:.1f})"
    return None


def _roll_back(
    run: Path,
    state: State,
    world: World,
    broken: str,  # what is wrong
    count: int,  # rollbacks so far, this one included
    to: float | None = None,  # kimg of the checkpoint to go back to; None: the newest
) -> None:
    """Go back to a good checkpoint with half the learning rate."""
    if count > MOST_ROLLBACKS:
        raise FigmentError(f"{run}: {broken}, after {MOST_ROLLBACKS} rollbacks; try a smaller --lr or a larger --gamma")
    at, scale = state.nimg, state.lr_scale / 2
    load_newest(run, state, world.device, math.inf if to is None else to)
    state.lr_scale = scale
    if world.is_main:
        say(
            f"at {at / 1000:.1f} kimg {broken}: back to {state.nimg / 1000:.1f} kimg, with {scale:g} times the "
            "learning rate"
        )


class Meter:
    """Takes the time of a tick, and the means of its statistics."""

    def __init__(self, nimg: int) -> None:
        self.start, self.first = time.perf_counter(), nimg

    def add(self, state: State, stats: dict[str, Tensor]) -> None:
        """One step's statistics; they lie in the state, so that a tick may be resumed in its middle."""
        for name, value in stats.items():
            state.sums[name] = state.sums[name] + value if name in state.sums else value
            state.counts[name] = state.counts.get(name, 0) + 1

    def pace(self, state: State, total: int) -> str:
        """Seconds per 1,000 images so far, and the time left until `total` images."""
        sec = (time.perf_counter() - self.start) / max(state.nimg - self.first, 1) * 1000
        return f"{sec:.2f} s/kimg, {clock((total - state.nimg) / 1000 * sec)} left"

    def row(self, state: State, world: World) -> dict[str, float]:
        """The tick's line of stats.jsonl: means over the tick and over all ranks. The next tick starts from nothing."""
        means = {name: float(world.mean(total / state.counts[name])) for name, total in sorted(state.sums.items())}
        state.sums, state.counts = {}, {}
        kimg, sec = (state.nimg - self.first) / 1000, time.perf_counter() - self.start
        before = state.history[-1]["sec"] if state.history else 0.0
        if state.lod is not None:
            means["lod"] = state.lod
        return {
            "tick": len(state.history),
            "kimg": state.nimg / 1000,
            "sec": round(before + sec, 3),
            "sec_per_kimg": round(sec / max(kimg, 1e-9), 3),
            **means,
        }


# ---------------------------------------------------------------------- what a run writes


def _begin(config: TrainConfig, run: Path, state: State, dataset: ImageDataset, world: World) -> None:
    """Go on from the run's newest checkpoint, or write its configuration and the grids to compare with."""
    for line in load_newest(run, state, world.device):
        say(line)
    if world.any(world.agree(str(state.nimg)) != str(state.nimg)):
        raise FigmentError(f"{run}: ranks see different checkpoints there; all nodes must share the folder")
    if config.digest != dataset.digest:
        raise FigmentError(f"DATA {dataset.path}: not the pictures that {run} was started with")
    if not world.is_main:
        return
    for line in dataset.damaged:
        say(f"left out: {line}")
    write_json(run / "config.json", config.to_json())
    columns = _grid_columns(dataset.resolution)
    write_png(run / "reals.png", make_grid(on_squares(dataset.take(range(min(columns**2, len(dataset))))), columns))
    last = state.history[-1]["kimg"] if state.history else config.schedule.start_kimg
    if state.nimg == round(last * 1000):  # at a tick; what was not written before a crash is written now
        _publish(config, run, state, dataset, world)


def _publish(config: TrainConfig, run: Path, state: State, dataset: ImageDataset, world: World) -> np.ndarray:
    """Write the grid of fakes, the checkpoint, the model file and the statistics of this tick; returns the grid."""
    if not world.is_main:
        return np.empty(0)
    columns = _grid_columns(dataset.resolution)
    fakes = make_grid(on_squares(draw_fakes(state, columns**2)), columns)
    write_png(run / "fakes" / f"img{state.nimg:09d}.png", fakes)
    save_checkpoint(run, state, config.schedule.keep, best_kimg(run))
    data = {"name": dataset.name, "pictures": len(dataset), "digest": dataset.digest}
    save(
        run / "model.safetensors",
        Model(g_ema=state.g_ema, g=None, d=state.d, origin="figment", config={"data": data, "kimg": state.nimg / 1000}),
    )
    write_text(run / "stats.jsonl", "".join(json.dumps(row) + "\n" for row in state.history))
    return np.asarray(fakes)


@torch.no_grad()
def draw_fakes(state: State, count: int) -> np.ndarray:
    """The average generator's pictures of seeds 0 to `count`: uint8 [N, C, H, W]."""
    z = torch.from_numpy(seeds_to_z(list(range(count)), state.g_ema.z_dim)).float()
    device = next(state.g_ema.parameters()).device
    images = [
        to_uint8(state.g_ema.synthesis(state.g_ema.mapping(part.to(device)), noise="const")).cpu()
        for part in z.split(8)
    ]
    return torch.cat(images).numpy()


def _grid_columns(resolution: int) -> int:
    """Columns of the grid of fakes: as many as fit 1024 pixels, 4 to 10."""
    return min(max(1024 // resolution, 4), 10)


def _status(
    run: Path,
    state: State,
    total: int,  # images at the end
    share: float | None,  # of the machine's ceiling; None where it is not known
) -> str:
    """One line for people."""
    row = state.history[-1]
    left = (total - state.nimg) / 1000 * row["sec_per_kimg"]
    of_ceiling = f" ({share:.0%} of ceiling)" if share else ""
    line = (
        f"tick {row['tick']:<4.0f} kimg {row['kimg']:>8.1f} / {total / 1000:g}   {row['sec_per_kimg']:6.2f} s/kimg"
        f"{of_ceiling}   left {clock(left)}   G {row['loss_g']:.2f}   D {row['loss_d']:.2f}"
        f"   D(real) {row['sign_real']:+.2f}"
    )
    if "ada_p" in row:
        line += f"   ADA {row['ada_p']:.3f}"
    if row.get("lod"):
        line += f"   lod {row['lod']:.2f}"
    scores = [score for score in read_rows(run / SCORES) if score["kimg"] < row["kimg"]]  # none of before a rollback
    if scores:
        line += f"   {scores[-1].get('label', 'score')} {scores[-1]['smooth']:.4f}"
    memory = peak_memory(state.path_mean.device)
    return f"{line}   {memory / 1e9:.1f} GB" if memory else line
