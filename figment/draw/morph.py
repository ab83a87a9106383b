"""Closed loops through characters, at an even pace.

    figment morph runs/00000-heads -o morph.mp4 --seeds 0-5 --seconds 10
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.files import write_json
from figment.base.progress import track
from figment.draw.grid import make_grid
from figment.draw.latents import closed_spline, seeds_to_w
from figment.draw.render import load_generator, render
from figment.draw.video import write_mp4

SMALLEST = 384
"""Videos are at least this many pixels wide: players blur smaller ones."""
ROUNDS = 3
"""How often the pace is measured and corrected."""


@dataclass(frozen=True)
class Pace:
    """How even a loop moves: the largest change between two frames in relation to the mean change."""

    before: float
    """Of equal steps along the spline."""
    after: float
    """Of the loop that was written."""


def morph(
    model: Path,                   # a model file or a run
    out: Path,                     # the .mp4 to write; its settings go beside it as .json
    *,
    seeds: list[int],              # the characters to pass through, in this order
    seconds: float = 10.0,         # length of the loop
    fps: int = 30,
    psi: float = 0.7,              # truncation
    size: int | None = None,       # pixels of a side; None keeps the model's, but at least SMALLEST
) -> Pace:
    """Write a closed loop whose frames differ by nearly equal amounts."""
    frames = round(seconds * fps)
    if out.suffix != ".mp4":
        raise FigmentError(f"--output {out}: must end in .mp4")
    if len(seeds) < 2:
        raise FigmentError(f"--seeds {seeds}: a morph needs two or more")
    if frames < 2 or fps < 1:
        raise FigmentError(f"--seconds {seconds} at --fps {fps}: must make two frames or more")

    g, _ = load_generator(model)
    keys = seeds_to_w(g, seeds, psi)
    images, pace = even_loop(g, keys, frames)
    pictures = (make_grid(image[None], 1) for image in images)
    write_mp4(out, pictures, fps, size or max(SMALLEST, *images.shape[2:]))
    write_json(out.with_suffix(".json"), {"model": str(model), "seeds": seeds, "seconds": seconds, "fps": fps,
                                          "psi": psi, "unevenness": {"before": pace.before, "after": pace.after}})
    return pace


def even_loop(
    g: Any,
    keys: Tensor,                  # [K, L, D]
    frames: int,
) -> tuple[np.ndarray, Pace]:
    """The pictures of a closed loop through `keys`, uint8 [frames, C, H, W], and its pace.

    Positions along the spline are moved until each step changes the pictures by the same amount: the change is
    measured on what was drawn, summed up to an arc length, and divided into equal parts.
    """
    at = np.arange(frames) / frames
    images = render(g, closed_spline(keys, at))
    change = changes(images)
    before = _unevenness(change)
    for _ in track(range(ROUNDS), "pacing"):
        if _unevenness(change) < 1.02:
            break
        at = respace(at, change)
        images = render(g, closed_spline(keys, at))
        change = changes(images)
    return images, Pace(before, _unevenness(change))


def changes(images: np.ndarray) -> np.ndarray:
    """The root mean square change from each picture to the next, the last to the first: [N, C, H, W] -> [N]."""
    following = (*range(1, len(images)), 0)
    return np.array([np.sqrt(np.square(images[after].astype(np.float32) - images[at]).mean())
                     for at, after in enumerate(following)])


def respace(
    at: np.ndarray,                # positions in turns, rising, the first 0
    change: np.ndarray,            # from each position to the next, the last to the first
) -> np.ndarray:
    """Positions that divide the measured arc length into equal parts; the first stays."""
    length = np.concatenate([[0], np.cumsum(np.maximum(change, 1e-6))])
    spaced: np.ndarray = np.interp(np.arange(len(at)) / len(at) * length[-1], length, np.append(at, 1.0))
    return spaced


def _unevenness(change: np.ndarray) -> float:
    """The largest change over the mean change; 1 is perfectly even."""
    return float(change.max() / max(change.mean(), 1e-9))
