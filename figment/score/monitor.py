"""Score a run between ticks, in a limited share of its time; a failed score never stops the run.

scores = Monitor(run, QuickScore(reals, dataset.digest, cache=run, device="cuda"), every=1)
train(config, run, dataset, world, on_tick=lambda state: scores.watch(state.g_ema, state.nimg / 1000))
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from figment.base.files import atomic, write_text
from figment.base.progress import say
from figment.nets.base import Generator
from figment.score.backbones import open_features
from figment.score.features import FeatureNetwork
from figment.score.metrics import frechet_distance, kernel_distance
from figment.score.reference import Gathering, Reference, batches, measure_reference
from figment.score.sources import ArraySource, ModelSource, evenly_spread

SCORES = "scores.jsonl"
BEST = "best.safetensors"
IMAGES = 500
"""Fakes of a quick score: seeds 0 to 499 each time."""
REALS = 1000
"""Images of the data that it compares with, evenly spread; all if there are fewer."""
SHARE = 0.05
"""Largest share of the run's time that scores may take."""
NUMBERS = ("kimg", "distance", "smooth")
"""Numbers in every row of scores.jsonl."""
MEDIAN = 3
"""Scores in the running median, which removes single spikes."""
COLLAPSED = 4.0
"""A smoothed score above this times the best is a collapse: the run goes back to its best checkpoint."""
WORSE = 1.5
"""A smoothed score above this times the best is reported."""
TRIAL_SEC = 1.0
"""Seconds reserved for the trial that measures the cost of a score."""
TRIES = 3
"""Failures in a row after which scoring ends; the run continues."""


Row = TypeVar("Row", bound=Mapping[str, Any])


class Scorer(Protocol):
    """Scores a generator within a limited time."""

    estimate: float
    """Seconds that the next score is expected to take."""

    def __call__(self, g: Generator, has_time: Callable[[float], bool]) -> dict[str, Any] | None:
        """Return a row with at least `distance` and `label`; None if `has_time` refuses the seconds that it needs."""


class QuickScore:
    """Scores a generator's first seeds against evenly spread images of the data."""

    def __init__(
        self,
        images: np.ndarray,  # the data, uint8 [N, C, H, W]
        digest: str,  # identifies the data
        *,
        cache: Path,  # folder for the statistics of the data
        count: int = IMAGES,  # fakes
        reals: int = REALS,  # images of the data
        features: str = "heads",  # see `open_features`
        device: str = "cpu",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        chosen = evenly_spread(len(images), reals)
        self.source = ArraySource(images, "data", f"{digest}-{len(chosen)}", chosen)
        self.cache, self.count, self.features, self.device, self.clock = cache, count, features, device, clock
        self.estimate, self.tried = TRIAL_SEC, False
        self.network: FeatureNetwork | None = None
        self.reference: Reference | None = None

    def __call__(self, g: Generator, has_time: Callable[[float], bool]) -> dict[str, Any] | None:
        """Return the scores of `g`; None if there is no time yet to measure the data as well.

        The first call times a few images of each kind before it commits to all of them.
        """
        if self.network is None:
            self.network = open_features(self.features, self.device)
        if self.reference is None:
            if not self.tried:
                self.tried, self.estimate = True, self._trial(g, self.network)
            if not has_time(self.estimate):
                return None
            cache = self.cache / f".reference.{self.network.name}.safetensors"
            self.reference = measure_reference(self.source, self.network, sample=self.count, cache=cache)
        began = self.clock()
        gathering = Gathering(self.network, self.count)
        for _, part in batches(ModelSource(g, self.count), "scoring", self.network.block):
            gathering.add(part)
        found, real = gathering.result()[0], self.reference.all
        kernel = kernel_distance(found.sample, real.sample)
        distance = frechet_distance(found.mean, found.cov, real.mean, real.cov)
        self.estimate = self.clock() - began
        return {
            "distance": distance,
            "kernel": kernel.value,
            "kernel_error": kernel.error,
            "label": self.network.labels[0],
            "images": self.count,
            "reference": self.source.digest,
        }

    def _trial(self, g: Generator, network: FeatureNetwork) -> float:
        """Return the seconds that the first score should take, from one block of fakes and one of reals."""
        few = network.block
        began = self.clock()
        network([image for _, image in ModelSource(g, few)])
        middle = self.clock()
        network([image for _, image in zip(range(few), self.source.images, strict=False)])
        fake, real = (middle - began) / few, (self.clock() - middle) / min(few, len(self.source))
        return fake * self.count + real * len(self.source)


class Monitor:
    """Scores a run's generator at some ticks; writes scores.jsonl and keeps the best model in best.safetensors."""

    def __init__(
        self,
        run: Path,
        scorer: Scorer,
        *,
        every: int = 1,  # ticks between scores
        share: float = SHARE,  # largest share of the run's time that scores may take
        tell: Callable[[str], None] = say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run, self.scorer, self.every, self.share = run, scorer, every, share
        self.tell, self.clock = tell, clock
        self.start, self.spent = clock(), 0.0
        self.ticks, self.failures, self.reported = 0, 0, -1.0
        self.rows = read_rows(run / SCORES)

    def __call__(self, g: Generator, kimg: float) -> dict[str, Any] | None:
        """Score `g`, the averaged generator at `kimg`, if a score is due and there is time; return its row."""
        self.ticks += 1
        if self.failures >= TRIES or (self.ticks - 1) % self.every:
            return None
        if not self.has_time(self.scorer.estimate):
            return None
        began = self.clock()
        try:
            with torch.random.fork_rng(devices=[]):
                row = self._score(g, kimg)
            if row:
                row["cost"] = round(self.clock() - began, 3)
                self._keep(row)
            self.failures = 0
        except Exception as error:
            self.failures += 1
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.tell(
                f"score skipped at kimg {kimg:g}: {why}"
                + ("; no more scores in this run" if self.failures == TRIES else "")
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            row = None
        self.spent += self.clock() - began
        return row

    def watch(self, g: Generator, kimg: float) -> str | None:
        """Score `g` if a score is due; return why the generator counts as collapsed, or None if it doesn't."""
        return self.collapsed if self(g, kimg) else None

    def has_time(self, sec: float) -> bool:
        """Return whether a score of `sec` seconds now stays within the share of the run's time."""
        return self.spent + sec <= self.share * (self.clock() - self.start)

    def _score(self, g: Generator, kimg: float) -> dict[str, Any] | None:
        """Return the row of a score at `kimg`; None if there is no time for it yet."""
        found = self.scorer(g, self.has_time)
        if found is None:
            return None
        # Rows of a later time belong to a run that was cut off and continued from an earlier checkpoint.
        self.rows = [row for row in self.rows if row["kimg"] < kimg]
        distance, label = found["distance"], found["label"]
        if self.rows and self.rows[-1].get("label") != label:
            self.tell(
                f"scores so far are {self.rows[-1].get('label')} and don't compare with {label}: {BEST} starts over"
            )
        recent = [row["distance"] for row in self.rows if row.get("label") == label][1 - MEDIAN :]
        return {"kimg": kimg, "distance": distance, "smooth": float(np.median([*recent, distance]))} | found

    @property
    def collapsed(self) -> str | None:
        """Why the generator counts as collapsed since its best score; None if it doesn't."""
        rows = comparable(self.rows)
        if len(rows) < MEDIAN:
            return None
        last, least = rows[-1], min(map(worth_of, rows))
        if last["smooth"] <= COLLAPSED * least:
            return None
        return f"{last['label']} {last['smooth']:.3f} is over {COLLAPSED:g} times the best, {least:.3f}"

    def _keep(self, row: dict[str, Any]) -> None:
        """Write the row, keep the model if it is the best so far, and report when scores get worse."""
        self.rows.append(row)
        label, kimg = row["label"], row["kimg"]
        rows = comparable(self.rows)
        worth = [worth_of(old) for old in rows]
        best = int(np.argmin(worth))
        row["best"] = best == len(worth) - 1
        model = self.run / "model.safetensors"
        if row["best"] and model.is_file():
            with atomic(self.run / BEST) as temporary:
                shutil.copyfile(model, temporary)
        write_text(self.run / SCORES, "".join(json.dumps(old) + "\n" for old in self.rows))
        self.tell(
            f"{label} {row['distance']:.4f} (smoothed {row['smooth']:.4f}) of {row['images']} fakes at kimg {kimg:g}"
            f" in {row['cost']:.1f} s{', the best so far' if row['best'] else ''}"
        )
        if row["smooth"] > WORSE * worth[best] and self.reported != rows[best]["kimg"]:
            self.reported = rows[best]["kimg"]
            self.tell(
                f"{label} has been rising since kimg {self.reported:g}; {self.run / BEST} is the model of that time"
            )


def worth_of(row: Mapping[str, Any]) -> float:
    """Return the value by which rows are ranked, lower is better: the larger of the raw and the smoothed distance."""
    return float(max(row["distance"], row["smooth"]))


def comparable(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the features of the last one: distances of other features don't compare."""
    return [row for row in rows if row.get("label") == rows[-1].get("label")]


def best_kimg(run: Path) -> float | None:
    """Return the kimg of a run's best score with its latest features; None if it has no scores."""
    rows = comparable(read_rows(run / SCORES))
    return float(min(rows, key=worth_of)["kimg"]) if rows else None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a scores.jsonl, without lines that a crash cut off; an empty list if there is no file."""
    rows = []
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and all(isinstance(row.get(name), (int, float)) for name in NUMBERS):
            rows.append(row)
    return rows
