"""Morph videos: closed loops through characters at an even pace.

figment morph runs/00000-heads -o morph.mp4 --seeds 0-5 --seconds 10 --fps 60
figment morph runs/00000-heads -o morph.gif --path circle --seeds 3,8
figment morph runs/00000-heads -o morph.webp --keys keys.json
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError
from figment.base.files import keep_input, write_json
from figment.base.progress import track
from figment.draw.blend import Blend, load_blended
from figment.draw.characters import Characters, characters
from figment.draw.grid import make_grid
from figment.draw.paths import closed_path, draw_path
from figment.draw.video import film_fps, need_film, write_film

SMALLEST = 384
"""Smallest side of a video in pixels: players blur smaller ones."""
ROUNDS = 4
"""Most rounds of measuring and correcting the pace."""
ENOUGH = 1.05
"""Unevenness at which the correction stops; see `unevenness`."""
MEMORY = 512 * 2**20
"""Bytes of images to keep in memory; longer loops are drawn again while they are written."""
Marks = tuple[tuple[int, float], ...]
"""Frames that must show a given position: (frame, turns), rising from (0, 0) to (number of frames, 1)."""


@dataclass(frozen=True)
class Pace:
    """Unevenness of a loop: the largest change between two frames over the mean change."""

    before: float
    """With equal steps along the path."""
    after: float
    """After the correction."""


def morph(
    model: Path,  # a model file or a run
    out: Path,  # .mp4, .gif or .webp; its settings go beside it as .json
    *,
    seeds: list[int] | None = None,  # characters to pass through in this order; None means `keys`, or the first few
    keys: str | Path | None = None,  # seeds such as "3,8", or a .json or .npz file, see characters.py
    path: str = "spline",  # spline, linear, spherical or circle
    seconds: float = 10.0,  # length of the loop
    fps: int = 30,  # frames per second
    psi: float = 0.7,  # truncation
    cutoff: int | None = None,  # truncate only layers below this one; None truncates all
    size: int | None = None,  # side in pixels; None keeps the model's, but at least SMALLEST
    even: bool = True,  # False keeps equal steps along the path
    blends: tuple[Blend, ...] = (),  # layers of other models
) -> Pace:
    """Write a closed loop whose frames differ by nearly equal amounts; return how even it is.

    Raises FigmentError for options that don't fit.
    """
    # Check the options before loading the model.
    need_film(out)
    if seeds is not None and keys is not None:
        raise FigmentError("--seeds and --keys: give one of the two")
    if not 0 < seconds <= 3600 or not 1 <= fps <= 120 or round(seconds * fps) < 2:
        raise FigmentError(
            f"--seconds {seconds:g} at --fps {fps}: must be at least two frames and at most an hour, at 1 to 120 fps"
        )
    rate = film_fps(out, fps)
    frames = round(seconds * rate)

    g = load_blended(model, blends)
    source = keys if keys is not None else seeds if seeds is not None else [0, 1] if path == "circle" else range(6)
    named = characters(g, source, psi, cutoff, "--keys" if keys is not None else "--seeds")
    keep_input(keys, "--keys", out.with_suffix(".json"))
    curve = closed_path(g, named, path, psi, cutoff)
    marks = key_marks(named, frames, seconds)
    loop = even_positions(lambda at: draw_path(g, curve, at), frames, marks, rounds=ROUNDS if even else 0)

    pictures = loop.images if loop.images is not None else draw_path(g, curve, loop.at)
    longest = size or max(SMALLEST, g.resolution)
    write_film(out, (make_grid(image[None], 1) for image in track(pictures, "writing", frames)), rate, longest)
    write_json(
        out.with_suffix(".json"),
        {
            "model": str(model),
            "seeds": list(named.seeds),
            "keys": list(named.names),
            "times": named.times,
            "path": path,
            "seconds": seconds,
            "fps": rate,
            "psi": psi,
            "cutoff": cutoff,
            "blend": [each.settings() for each in blends],
            "unevenness": {"before": loop.pace.before, "after": loop.pace.after},
        },
    )
    return loop.pace


def key_marks(
    keys: Characters,
    frames: int,
    seconds: float,
) -> Marks:
    """Return the frames at which the keys' times fall; without times only the first frame is fixed.

    Raises FigmentError for times that don't start at 0 and rise.
    """
    if keys.times is None:
        return ((0, 0.0), (frames, 1.0))
    at = [round(time / seconds * frames) for time in keys.times]
    if at[0] != 0 or any(b <= a for a, b in pairwise([*at, frames])):
        raise FigmentError(
            f"--keys times {', '.join(f'{time:g}' for time in keys.times)}: must start at 0, rise by at "
            f"least a frame each, and stay below --seconds {seconds:g}"
        )
    return (*((frame, index / len(keys)) for index, frame in enumerate(at)), (frames, 1.0))


@dataclass(frozen=True)
class Loop:
    """A closed loop and its measured pace."""

    at: np.ndarray
    """Position of each frame in turns."""
    pace: Pace
    images: list[np.ndarray] | None
    """Its images, uint8 [C, H, W]; None if they exceed MEMORY."""


def even_positions(
    draw: Callable[[np.ndarray], Iterable[np.ndarray]],  # returns the images at positions in turns, one by one
    frames: int,
    marks: Marks | None = None,  # None fixes only the first frame
    rounds: int = ROUNDS,  # most corrections; 0 for none
) -> Loop:
    """Return positions along a closed path at which the images change by equal steps.

    The changes between drawn images are summed to an arc length, which is divided into equal parts between the marks.
    This is repeated with the new positions, and the most even loop is returned.
    """
    marks = marks or ((0, 0.0), (frames, 1.0))
    at = np.interp(np.arange(frames), [frame for frame, _ in marks], [turn for _, turn in marks])
    best: Loop | None = None
    for turn in range(rounds + 1):
        kept = _Kept()
        change = loop_changes(kept.keep(track(draw(at), f"pacing {turn + 1}" if rounds else "drawing", frames)))
        found = unevenness(change, marks)
        if best is None or found < best.pace.after:
            best = Loop(at, Pace(best.pace.before if best else found, found), kept.images)
        if found <= ENOUGH or turn == rounds:
            return best
        at = respace(at, change, marks)
    raise ValueError(f"rounds {rounds}: must be 0 or more")


class _Kept:
    """Keeps the images of an iterator as long as they fit into MEMORY."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] | None = []

    def keep(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for image in images:
            if self.images is not None:
                self.images.append(image)
                if len(self.images) * image.nbytes > MEMORY:
                    self.images = None
            yield image


def loop_changes(images: Iterable[np.ndarray]) -> np.ndarray:
    """Return the root mean square change from each of N images to the next, and from the last to the first, [N].

    Images come one by one, and at most three are in memory. Raises ValueError if there are none.
    """
    left = iter(images)
    first = before = next(left, None)
    if first is None or before is None:
        raise ValueError("a loop needs at least one image")
    found: list[float] = []
    for image in left:
        found.append(_distance(before, image))
        before = image
    return np.array([*found, _distance(before, first)])


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.square(b.astype(np.float32) - a).mean()))


def respace(
    at: np.ndarray,  # positions in turns, rising from 0
    change: np.ndarray,  # from each position to the next, and from the last to the first
    marks: Marks | None = None,  # None fixes only the first frame
) -> np.ndarray:
    """Return positions that divide the measured arc length between marks into equal parts."""
    marks = marks or ((0, 0.0), (len(at), 1.0))
    length = np.concatenate([[0], np.cumsum(np.maximum(change, 1e-6))])
    around = np.append(at, 1.0)
    fixed = np.interp([turn for _, turn in marks], around, length)
    wanted = np.interp(np.arange(len(at)), [frame for frame, _ in marks], fixed)
    spaced: np.ndarray = np.interp(wanted, length, around)
    return spaced


def unevenness(
    change: np.ndarray,  # from each frame to the next
    marks: Marks,
) -> float:
    """Return the largest change over the mean change between the same marks; 1 is perfectly even."""
    parts = [change[start:stop] for (start, _), (stop, _) in pairwise(marks)]
    return max(float(part.max() / max(part.mean(), 1e-9)) for part in parts)
