"""How a run reports: lines for people, stats.jsonl, and TensorBoard if asked for.

figment train heads-64.zip -o runs --tensorboard
tensorboard --logdir runs
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from figment.base.device import World, peak_memory
from figment.base.errors import FigmentError
from figment.base.files import write_text
from figment.base.parse import clock
from figment.base.progress import LiveBar, say
from figment.score.monitor import SCORES, read_rows
from figment.train.config import Schedule
from figment.train.execution import Stats
from figment.train.state import Row, State

TENSORBOARD = "tensorboard"
"""Folder of a run's TensorBoard files."""


class Meter:
    """Times a tick and averages its statistics."""

    def __init__(self, nimg: int) -> None:
        self.start, self.first = time.perf_counter(), nimg

    def add(self, state: State, stats: Stats) -> None:
        """Add one step's statistics; the sums are in the state, so that a run can resume in the middle of a tick."""
        for name, value in stats.items():
            state.sums[name] = state.sums[name] + value if name in state.sums else value
            state.counts[name] = state.counts.get(name, 0) + 1

    def sec_per_kimg(self, nimg: int) -> float:
        """Return the seconds per 1,000 images so far."""
        return (time.perf_counter() - self.start) / max(nimg - self.first, 1) * 1000

    def row(self, state: State, world: World) -> Row:
        """Return the tick's row of stats.jsonl, means over the tick and all ranks, and reset the sums."""
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


class Reporter:
    """Reports a run's progress. Ranks other than the main one print warnings only and write nothing."""

    def __init__(
        self,
        run: Path,
        schedule: Schedule,
        world: World,
    ) -> None:
        self.run, self.schedule, self.world = run, schedule, world
        self.enabled = world.is_main
        self.board: TensorBoard | None = None
        self._bar = LiveBar("training", self.schedule.end / 1000, "kimg")

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.clear()
        if self.board is not None:
            self.board.close()

    def say(self, line: str) -> None:
        """Print one line for people."""
        if self.enabled:
            say(line)

    def warn(self, line: str) -> None:
        """Print one line for people, on any rank."""
        say(line)

    def begin(
        self,
        nimg: int,  # images shown so far
    ) -> None:
        """Open the TensorBoard files if the configuration asks for them."""
        if self.enabled and self.schedule.tensorboard:
            self.board = TensorBoard(self.run, nimg)

    def progress(self, nimg: int, sec_per_kimg: float) -> None:
        """Move the progress bar; `pause` hides it."""
        if self.enabled:
            left = (self.schedule.end - nimg) / 1000 * sec_per_kimg
            self._bar.move(nimg / 1000, f"{sec_per_kimg:.2f} s/kimg, {clock(left)} left")

    def pause(self) -> None:
        """Hide the progress bar, so that lines can be printed."""
        self._bar.clear()

    def write_history(self, history: list[Row]) -> None:
        """Write stats.jsonl."""
        if self.enabled:
            write_text(self.run / "stats.jsonl", "".join(json.dumps(row) + "\n" for row in history))

    def tick(
        self,
        row: Row,  # the tick's statistics
        fakes: np.ndarray,  # the grid of fakes, uint8 [H, W] or [H, W, C]
        utilization: float | None,  # share of the device's peak matmul speed; None if it is not known
    ) -> None:
        """Report a tick: its status line and advice, and its curves and fakes in TensorBoard."""
        if not self.enabled:
            return
        if self.board is not None:
            self.board.tick(row, fakes)
        # After a rollback scores.jsonl still has the scores of later ticks.
        scores = [score for score in read_rows(self.run / SCORES) if score["kimg"] < row["kimg"]]
        say(
            status_line(
                row,
                total_kimg=self.schedule.end / 1000,
                utilization=utilization,
                score=scores[-1] if scores else None,
                memory=peak_memory(self.world.device),
            )
        )
        for line in row.get("advice", {}).values():
            say(f"advice: {line}")


def status_line(
    row: Row,  # a tick's statistics
    *,
    total_kimg: float,  # at the end of the run
    utilization: float | None = None,  # share of the device's peak matmul speed; None if it is not known
    score: Mapping[str, float] | None = None,  # the last row of scores.jsonl; None if there is none
    memory: int = 0,  # peak memory in bytes; 0 if it is not known
) -> str:
    """Return a tick as one line for people."""
    left = (total_kimg - row["kimg"]) * row["sec_per_kimg"]
    of_peak = f" ({utilization:.0%} of ceiling)" if utilization else ""
    line = (
        f"tick {row['tick']:<4.0f} kimg {row['kimg']:>8.1f} / {total_kimg:g}   {row['sec_per_kimg']:6.2f} s/kimg"
        f"{of_peak}   left {clock(left)}   G {row['loss_g']:.2f}   D {row['loss_d']:.2f}"
        f"   D(real) {row['sign_real']:+.2f}"
    )
    if "ada_p" in row:
        line += f"   ADA {row['ada_p']:.3f}"
    if row.get("lod"):
        line += f"   lod {row['lod']:.2f}"
    if score is not None:
        line += f"   {score.get('label', 'score')} {score['smooth']:.4f}"
    return f"{line}   {memory / 1e9:.1f} GB" if memory else line


class TensorBoard:
    """Writes a run's ticks for TensorBoard; its steps are images shown."""

    def __init__(
        self,
        run: Path,
        nimg: int,  # images shown so far: what an earlier process wrote beyond them is dropped
    ) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise FigmentError(
                "--tensorboard: needs the extra `tensorboard`: pip install 'figment-gan[tensorboard]'"
            ) from None
        self.writer = SummaryWriter(str(run / TENSORBOARD), purge_step=nimg + 1 if nimg else None)

    def tick(
        self,
        row: Row,  # the tick's statistics
        fakes: np.ndarray,  # the grid of fakes, uint8 [H, W] or [H, W, C]
    ) -> None:
        """Write one tick."""
        nimg = round(row["kimg"] * 1000)
        for name, value in row.items():
            if name not in ("tick", "kimg", "sec", "advice"):
                self.writer.add_scalar(name, value, nimg)
        self.writer.add_image("fakes", np.atleast_3d(fakes), nimg, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()
