"""Advice while a run trains: one line when its statistics show a known sign of trouble, with the setting to change.

    row["diversity"] = diversity(fakes, reals)
    row["advice"] = advise([*history, row], scores, config, pictures=2000)    # {} if all is well

Signs and thresholds are those of docs/training.md, which names the runs that they were measured on. Advice follows from
the rows of stats.jsonl and scores.jsonl alone, so a resumed run continues where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from figment.score.monitor import comparable, worth_of
from figment.train.config import Recipe, TrainConfig

Rows = Sequence[Mapping[str, Any]]
"""Rows of stats.jsonl or scores.jsonl, oldest first."""

FIRST = 4
"""Ticks at the start of a run that never show a sign: both networks are far from any balance."""
HOLD = 4
"""Ticks in a row that must show a sign before there is advice; as many without it end the sign."""
AGAIN = 100
"""Ticks after which advice is repeated while its sign lasts."""

DIVERSITY_LOW = 0.3
"""Diversity below this is a collapse."""
MANY_VIEWS = 50
"""D can have memorized pictures that it has seen this often."""
MEMORIZED = 0.8
"""A gap of D's signs above this after MANY_VIEWS means that D knows the pictures by heart; ADA aims at about 0.6."""
WINNING = 0.9
"""A gap of D's signs above this before MANY_VIEWS means that D is too strong, if G's loss rises as well."""
IGNORANCE = {"logistic": 2 * math.log(2), "hinge": 2.0}
"""Loss of a D that gives all images the logit 0, by the name of the loss."""
WEAK = 0.97
"""D's loss above this times that of ignorance means that D learns next to nothing."""
LOSS_RISE = 1.0
"""Rise of G's loss, a mean of HOLD ticks, above its lowest that counts, in units of D's logits."""
LEAK = 0.8
"""Probability of the augmentation above which it may leak into the fakes (Karras et al. 2020, arXiv 2006.06676)."""
RISING, RISING_TICKS = 0.5, 12
"""Probability above which it matters that it rose at each of that many ticks."""
LEAST_SCORES = 12
"""Scores without which there is no word on whether they still get better."""

SIGNED = ("logistic", "hinge")
"""Losses that put the border between pictures and fakes at 0. A Wasserstein critic's scores have no such border."""
SIDE = 16
"""Side that images are reduced to before they are compared, so that sharpness and speckle don't count."""
LEAST_IMAGES = 16
"""Images of each kind without which diversity is not measured; grids hold 16 or more."""


def diversity(
    fakes: np.ndarray,  # uint8 [N, C, H, W]
    reals: np.ndarray,  # uint8 [M, C, H, W]: at most half of the pictures, else memorized ones look like a collapse
) -> float | None:
    """Return how far fakes are from their nearest neighbors, as a multiple of what it is for as many real images.

    It is near 0 if all fakes are alike, and also if there are a few kinds only. None if there are too few images.
    """
    count = min(len(fakes), len(reals))
    distance = spacing(reals[:count]) if count >= LEAST_IMAGES else 0.0
    return spacing(fakes[:count]) / distance if distance else None


def spacing(
    images: np.ndarray,  # uint8 [N, C, H, W], at least 2
) -> float:
    """Return the mean distance of an image to its nearest neighbor: root mean square in gray levels, 0 to 255."""
    count, channels, height, width = images.shape
    y, x = max(height // SIDE, 1), max(width // SIDE, 1)
    rows, columns = height // y, width // x
    blocks = images[:, :, : rows * y, : columns * x].reshape(count, channels, rows, y, columns, x)
    small = blocks.mean((3, 5)).reshape(count, -1)  # [N, C rows columns]
    squares = (small**2).sum(1)
    distances = np.maximum(squares[:, None] + squares - 2 * small @ small.T, 0)  # [N, N]
    np.fill_diagonal(distances, np.inf)
    return float(np.sqrt(distances.min(1) / small.shape[1]).mean())


# --- Signs


@dataclass(frozen=True)
class Progress:
    """A run up to one of its ticks, in which signs are looked for."""

    rows: Rows
    """Rows of stats.jsonl up to the tick."""
    scores: Rows
    """Rows of scores.jsonl."""
    config: TrainConfig
    pictures: int
    """Pictures in the data set."""

    def value(self, name: str) -> float:
        """Return a statistic of the tick, or NaN, with which every comparison is false."""
        return float(self.rows[-1].get(name, math.nan))

    @property
    def views(self) -> float:
        """How often each picture was shown to D, mirrored or not."""
        return (self.value("kimg") - self.config.schedule.start_kimg) * 1000 / self.pictures

    @property
    def right(self) -> str:
        """Share of images that D is right about, as a text."""
        return f"{(1 + self.gap) / 2:.0%}"

    @property
    def gap(self) -> float:
        """How often D is right about an image: 0 for chance, 1 for always.

        NaN if its loss has no border at 0, and for the projected discriminator, whose limits were not measured yet.
        """
        signed = self.config.recipe.loss in SIGNED and self.config.networks.discriminator == "family"
        return (self.value("sign_real") - self.value("sign_fake")) / 2 if signed else math.nan


def collapse(run: Progress) -> str | None:
    """Return advice if all fakes are alike, or of a few kinds."""
    diversity = run.value("diversity")
    if not diversity < DIVERSITY_LOW:
        return None
    return (
        f"G has collapsed: fakes differ {diversity:.2f} times as much as the pictures. Go back to an earlier model "
        f"with {scaled(run.config.recipe, gamma=3, lr=0.5)}"
    )


def overfitting(run: Progress) -> str | None:
    """Return advice if D has memorized the pictures."""
    if not (run.gap > MEMORIZED and run.views >= MANY_VIEWS):
        return None
    return (
        f"D overfits: it has seen each picture {run.views:.0f} times and is right about {run.right} of all images. "
        f"What helps is {more_data(run.config)}"
    )


def strong_d(run: Progress) -> str | None:
    """Return advice if G loses ground to a D that can't have memorized the pictures yet."""
    if not (run.gap > WINNING and run.views < MANY_VIEWS):
        return None
    losses = [float(row.get("loss_g", math.nan)) for row in run.rows[FIRST:]]
    means = [sum(losses[end - HOLD : end]) / HOLD for end in range(HOLD, len(losses) + 1)]
    if not means or not means[-1] - min(means) > LOSS_RISE:
        return None
    return (
        f"D is too strong: it is right about {run.right} of all images, and G's loss rises. Try "
        f"{scaled(run.config.recipe, gamma=3, d_lr=0.5)}"
    )


def weak_d(run: Progress) -> str | None:
    """Return advice if D knows next to nothing. Its signs don't show it: logits near 0 have the right sign too."""
    loss, ignorance = run.value("loss_d"), IGNORANCE.get(run.config.recipe.loss, math.nan)
    if not loss > WEAK * ignorance:
        return None
    return (
        f"D learns next to nothing: its loss is {loss:.2f}, and {ignorance:.2f} is that of one which gives every image "
        f"the same logit. Try {scaled(run.config.recipe, gamma=1 / 3, d_lr=3)}"
    )


def leak(run: Progress) -> str | None:
    """Return advice if the augmentation is so strong that fakes may show it, or rises without a stop."""
    p = [row.get("ada_p", math.nan) for row in run.rows[-RISING_TICKS - 1 :]]
    rises = len(p) > RISING_TICKS and p[-1] > RISING and all(a < b for a, b in pairwise(p))
    if not (p[-1] > LEAK or rises):
        return None
    now = run.config.recipe.ada_target
    target = f"--ada-target {min(now + 0.2, 0.9):g}, " if now < 0.9 else ""
    return (
        f"the augmentation may leak: ada_p is {p[-1]:.2f}{' and rises all the time' if rises else ''}. Look for tilted "
        f"or recolored fakes; what helps is {target}{more_data(run.config)}"
    )


def exhaustion(run: Progress) -> str | None:
    """Return advice if scores have not got better during the second half of the run."""
    now, start = run.value("kimg"), run.config.schedule.start_kimg
    scores = [row for row in comparable(run.scores) if row["kimg"] < now]  # after a rollback there may be later ones
    if len(scores) < LEAST_SCORES or run.views < MANY_VIEWS:
        return None
    best = min(scores, key=worth_of)["kimg"]
    if best - start > (now - start) / 2:
        return None
    return (
        f"the pictures give no more: no score was better than that of kimg {best:g} ({run.views:.0f} views of each "
        "picture by now). Stop, and use best.safetensors; what helps is more pictures"
    )


SIGNS: Mapping[str, Callable[[Progress], str | None]] = {
    "collapse": collapse,
    "overfitting": overfitting,
    "strong_d": strong_d,
    "weak_d": weak_d,
    "leak": leak,
    "exhaustion": exhaustion,
}
"""By the name under which advice is written to stats.jsonl."""


# --- Advice


def advise(
    rows: Rows,  # of stats.jsonl, the newest tick's row last; earlier rows hold the advice given so far
    scores: Rows,  # of scores.jsonl
    config: TrainConfig,
    pictures: int,  # in the data set
) -> dict[str, str]:
    """Return one line per sign that is due at the newest tick, by the sign's name.

    It is due once the last HOLD ticks all show the sign; then not again until HOLD ticks in a row did not show it, or
    AGAIN ticks have passed.
    Networks that still grow show no sign, because their statistics change with every new block.
    """

    def look(name: str, tick: int) -> str | None:
        """Return a sign's advice as of one tick; None if that tick does not show it."""
        if tick < FIRST or rows[tick].get("lod"):
            return None
        return SIGNS[name](Progress(rows[: tick + 1], scores, config, pictures))

    due, last = {}, len(rows) - 1
    for name in SIGNS:
        line = look(name, last)
        if line and all(look(name, last - ago) for ago in range(1, HOLD)) and not _given(name, rows, look):
            due[name] = line
    return due


def _given(name: str, rows: Rows, look: Callable[[str, int], str | None]) -> bool:
    """Return whether a sign's advice was given in the last AGAIN ticks, and the sign was not away for HOLD since."""
    away = 0
    for tick in reversed(range(max(len(rows) - 1 - AGAIN, 0), len(rows) - 1)):
        away = 0 if look(name, tick) else away + 1
        if away == HOLD:
            return False
        if name in rows[tick].get("advice", {}):
            return True
    return False


def scaled(recipe: Recipe, **factors: float) -> str:
    """Return settings of the recipe times factors as options; those that the recipe leaves at 0 are left out."""
    options = [
        f"--{name.replace('_', '-')} {float(f'{getattr(recipe, name) * factor:.2g}'):g}"
        for name, factor in factors.items()
        if getattr(recipe, name)
    ]
    return " or ".join(options)


def more_data(config: TrainConfig) -> str:
    """Return the options that make few pictures go further, as far as a run does not have them."""
    options = [] if config.recipe.augment == "ada" else ["--augment ada"]
    if config.networks.discriminator == "family" and not config.recipe.freeze_d:
        options.append("--freeze-d 4")
    return " or ".join([*options, "more pictures"])
