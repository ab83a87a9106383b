"""The training loop.

figment train heads-64.zip -o runs --kimg 200
figment train heads-64.zip -o runs --resume
torchrun --nproc-per-node 2 -m figment train heads-256.zip -o runs
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import torch

from figment.base.device import ThreadGovernor, World
from figment.base.errors import FigmentError
from figment.base.files import write_json
from figment.base.parse import seeds_to_z
from figment.base.pixels import to_uint8, write_png
from figment.draw.grid import make_grid, on_squares
from figment.nets.checkpoint import Model, read_record, save
from figment.pack.dataset import ImageDataset
from figment.pack.readahead import hold_images
from figment.score.monitor import SCORES, best_kimg, read_rows
from figment.score.sources import evenly_spread
from figment.train.adviser import advise, diversity
from figment.train.config import TrainConfig
from figment.train.cost.throughput import Utilization
from figment.train.reporters import Meter, Reporter
from figment.train.state import Row, State, checkpoints, load_newest, new_state, save_checkpoint
from figment.train.trainer import Trainer

STOP_CHECK_STEPS = 4
"""Steps between the ranks' checks whether one of them got a signal to stop."""
MAX_ROLLBACKS = 5
"""Rollbacks after which a run gives up."""

OnTick = Callable[[State], str | None]
"""Scores a tick; returns a line if the generator has collapsed, else None."""


class Stop:
    """Notices SIGTERM and Ctrl-C, so that the loop can end between two steps."""

    def __init__(self) -> None:
        self.asked, self._interruptible = False, False

    def __enter__(self) -> Stop:
        self._old = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt

    def interrupting(self, work: Callable[[], str | None]) -> str | None:
        """Return what `work` returns, or None if a signal comes, which ends it at once: a score can wait."""
        self._interruptible = True
        try:
            return None if self.asked else work()
        except KeyboardInterrupt:
            return None
        finally:
            self._interruptible = False

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)


def train(
    config: TrainConfig,
    run: Path,  # the run's folder; a run that is already in it is resumed
    dataset: ImageDataset,
    world: World,
    on_tick: OnTick = lambda state: None,
) -> bool:
    """Train until `kimg`; return False if a signal ended it early, with a checkpoint written."""
    with Reporter(run, config.schedule, world) as reporter:
        loop = Loop(config, run, dataset, world, reporter)
        with Stop() as stop, ThreadGovernor() as governor:
            return loop.run(stop, governor, on_tick)


class Loop:
    """Trains one run: steps, ticks, rollbacks, and the files that it writes."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,  # the run's folder
        dataset: ImageDataset,
        world: World,
        reporter: Reporter,
    ) -> None:
        self.config, self.folder, self.dataset, self.world, self.reporter = config, folder, dataset, world, reporter
        need_same_pictures(config, folder, dataset)
        self.state = new_state(config, world.device, init=not checkpoints(folder))
        self._begin()
        images = hold_images(dataset, world.device)
        self.trainer = Trainer(config, self.state, images, world, log=reporter.warn)
        self.reals = np.empty(0)  # to compare the fakes with, on the main rank
        if world.is_main:
            count = max(min(grid_columns(dataset.resolution) ** 2, len(dataset) // 2), 1)
            self.reals = on_squares(dataset.take(evenly_spread(len(dataset), count)))
        self.rollbacks = 0

    def run(self, stop: Stop, governor: ThreadGovernor, on_tick: OnTick) -> bool:
        """Train until the end; return False if a signal ended it early."""
        state, world, reporter, end = self.state, self.world, self.reporter, self.config.schedule.end
        reporter.begin(state.nimg)
        utilization = Utilization(self.config, world)
        meter, stopped = Meter(state.nimg), False
        while state.nimg < end and not stopped:
            with utilization.counting(self.trainer):
                stats = self.trainer.step()
            meter.add(state, stats)
            reporter.progress(state.nimg, meter.sec_per_kimg(state.nimg))
            if world.device.type == "cpu" and (line := governor.check()):
                reporter.pause()
                reporter.warn(line)
            if state.step % STOP_CHECK_STEPS == 0 or world.size == 1:
                stopped = world.any(stop.asked)
            if state.nimg < end and state.nimg < self._next_tick():
                continue

            # A tick: statistics, a grid of fakes, a checkpoint, lines. A broken state goes back to a good one.
            reporter.pause()
            row = meter.row(state, world)
            broken = diagnose(row, state)
            if broken:
                self._roll_back(broken)
            else:
                state.history.append(row)
                fakes = self._draw()
                self._advise(fakes)
                grid = self._publish(fakes)
                share = utilization.share(row["sec_per_kimg"]) if world.is_main else None
                reporter.tick(row, grid, share)
                collapsed = stop.interrupting(lambda: on_tick(state))
                stopped = stopped or world.any(stop.asked)
                if world.any(bool(collapsed)):
                    self._roll_back(collapsed or "", best_kimg(self.folder))
            meter = Meter(state.nimg)
        if stopped and world.is_main:
            save_checkpoint(self.folder, state, self.config.schedule.keep, best_kimg(self.folder))
            reporter.say(
                f"stopped at {state.nimg / 1000:.1f} kimg; resume with: figment train --resume -o {self.folder}"
            )
        return not stopped

    def _next_tick(self) -> int:
        """Return the number of images at which the current tick ends."""
        return round((self._last_tick_kimg() + self.trainer.now.tick_kimg) * 1000)

    def _last_tick_kimg(self) -> float:
        """Return the kimg of the last tick, or of the start."""
        history = self.state.history
        return history[-1]["kimg"] if history else self.config.schedule.start_kimg

    def _roll_back(
        self,
        broken: str,  # what is wrong
        to: float | None = None,  # kimg of the checkpoint to go back to; None: the newest
    ) -> None:
        """Go back to a good checkpoint with half the learning rate; raise FigmentError after too many times."""
        self.rollbacks += 1
        if self.rollbacks > MAX_ROLLBACKS:
            raise FigmentError(
                f"{self.folder}: {broken}, after {MAX_ROLLBACKS} rollbacks; try a smaller --lr or a larger --gamma"
            )
        state = self.state
        at, scale = state.nimg, state.lr_scale / 2
        for line in load_newest(self.folder, state, self.world.device, math.inf if to is None else to):
            self.reporter.say(line)
        state.lr_scale = scale
        self.reporter.say(
            f"at {at / 1000:.1f} kimg {broken}: back to {state.nimg / 1000:.1f} kimg, with {scale:g} times the "
            "learning rate"
        )

    def _begin(self) -> None:
        """Restore the run's newest checkpoint, or write its configuration and the grids to compare with."""
        config, folder, dataset, state, world = self.config, self.folder, self.dataset, self.state, self.world
        for line in load_newest(folder, state, world.device):
            self.reporter.say(line)
        if world.any(world.broadcast(str(state.nimg)) != str(state.nimg)):
            raise FigmentError(f"{folder}: ranks see different checkpoints there; all nodes must share the folder")
        if not world.is_main:
            return
        for line in dataset.notes:
            self.reporter.say(f"DATA {dataset.path}: {line}")
        for line in dataset.damaged:
            self.reporter.say(f"left out: {line}")
        write_json(folder / "config.json", config.to_json())
        columns = grid_columns(dataset.resolution)
        reals = dataset.take(range(min(columns**2, len(dataset))))
        write_png(folder / "reals.png", make_grid(on_squares(reals), columns))
        if state.nimg == round(self._last_tick_kimg() * 1000):  # at a tick: write what a crash may have prevented
            self._publish(self._draw())

    def _draw(self) -> np.ndarray:
        """Return this tick's fakes, always of the same seeds, uint8 [N, C, H, W]; none on other ranks than the main."""
        if not self.world.is_main:
            return np.empty(0)
        return on_squares(draw_fakes(self.state, grid_columns(self.dataset.resolution) ** 2))

    def _advise(
        self,
        fakes: np.ndarray,  # this tick's, uint8 [N, C, H, W]
    ) -> None:
        """Add the diversity of the fakes, and advice if a sign of trouble shows, to the newest row of statistics.

        Whatever goes wrong in that never stops a run.
        """
        if not self.world.is_main:
            return
        history = self.state.history
        try:
            found = diversity(fakes, self.reals)
            history[-1] |= {} if found is None else {"diversity": round(found, 3)}
            advice = advise(history, read_rows(self.folder / SCORES), self.config, len(self.dataset))
            history[-1] |= {"advice": advice} if advice else {}
        except Exception as error:
            self.reporter.warn(f"no advice at this tick: {str(error) or type(error).__name__}")

    def _publish(
        self,
        fakes: np.ndarray,  # this tick's, uint8 [N, C, H, W]
    ) -> np.ndarray:
        """Write the grid of fakes, checkpoint, model file and statistics; return the grid, uint8 [H, W, C]."""
        folder, dataset, state = self.folder, self.dataset, self.state
        if not self.world.is_main:
            return np.empty(0)
        grid = make_grid(fakes, grid_columns(dataset.resolution))
        write_png(folder / "fakes" / f"img{state.nimg:09d}.png", grid)
        save_checkpoint(folder, state, self.config.schedule.keep, best_kimg(folder))
        data = {"name": dataset.name, "pictures": len(dataset), "digest": dataset.digest}
        about = {"data": data, "kimg": state.nimg / 1000}
        save(folder / "model.safetensors", Model(g_ema=state.g_ema, g=None, d=state.d, origin="figment", config=about))
        self.reporter.write_history(state.history)
        return np.asarray(grid)


def need_same_pictures(
    config: TrainConfig,
    folder: Path,  # the run's folder
    dataset: ImageDataset,
) -> None:
    """Raise FigmentError, which says how to go on, if the run was started with other pictures or labels."""
    if dataset.is_known_as(config.digest):
        return
    try:
        before = read_record(folder / "model.safetensors")["config"]["data"]["pictures"]
    except (FigmentError, KeyError, TypeError):
        before = "unknown"
    number = (
        f"also {before}, but others, in another order or with other labels" if before == len(dataset) else f"{before}"
    )
    raise FigmentError(
        f"DATA {dataset.path}: holds {len(dataset)} pictures, but not the pictures that {folder} was started with "
        f"({number}); to go on with them in a new run: figment train {dataset.path} --init {folder}"
    )


def diagnose(row: Row, state: State) -> str | None:
    """Return what is broken after a tick: numbers that are not finite, or a D that G can't fool; else None."""
    broken = [name for name, value in row.items() if not math.isfinite(value)]
    if broken:
        return f"{', '.join(broken)} {'is' if len(broken) == 1 else 'are'} NaN or infinite"
    if not all(bool(parameter.isfinite().all()) for parameter in state.g_ema.parameters()):
        return "the generator's weights are NaN or infinite"
    if row["sign_real"] > 0.999 and row["sign_fake"] < -0.999 and row["loss_g"] > 15:
        return f"the generator can't fool the discriminator any more (G's loss is {row['loss_g']:.1f})"
    return None


@torch.no_grad()
def draw_fakes(state: State, count: int) -> np.ndarray:
    """Return the averaged generator's images of seeds 0 to `count` - 1, uint8 [N, C, H, W]."""
    g = state.g_ema
    z = torch.from_numpy(seeds_to_z(list(range(count)), g.z_dim)).float()
    images = [to_uint8(g.synthesis(g.mapping(part.to(g.device)), noise="const")).cpu() for part in z.split(8)]
    return torch.cat(images).numpy()


def grid_columns(resolution: int) -> int:
    """Return the columns of the grid of fakes: as many as fit 1024 pixels, 4 to 10."""
    return min(max(1024 // resolution, 4), 10)
