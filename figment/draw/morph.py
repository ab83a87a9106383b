"""Closed loops through characters, at an even pace.

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
from figment.base.files import write_json
from figment.base.progress import track
from figment.draw.blend import Blend, load_blended
from figment.draw.characters import Characters, characters
from figment.draw.grid import make_grid
from figment.draw.paths import closed_path, draw_path
from figment.draw.video import film_fps, need_film, write_film

SMALLEST = 384
"""Videos are at least this many pixels wide: players blur smaller ones."""
ROUNDS = 4
"""How often the pace is measured and corrected at most."""
ENOUGH = 1.05
"""The largest change over the mean change that is even enough."""
MEMORY = 512 * 2**20
"""Bytes of pictures that are held; longer loops are drawn once more as they are written."""
Marks = tuple[tuple[int, float], ...]
"""Frames that must show a given position: (frame, turns), rising, from (0, 0) to (all frames, 1)."""


@dataclass(frozen=True)
class Pace:
    """How even a loop moves: the largest change between two frames in relation to the mean change."""

    before: float
    """Of equal steps along the path."""
    after: float
    """Of the loop that was written."""


def morph(
    model: Path,  # a model file or a run
    out: Path,  # .mp4, .gif or .webp; its settings go beside it as .json
    *,
    seeds: list[int] | None = None,  # the characters to pass through, in this order; None: `keys`, or a few
    keys: str | Path | None = None,  # the same as a list of seeds, or a .json or .npz file, see characters.py
    path: str = "spline",  # spline, linear, spherical or circle
    seconds: float = 10.0,  # length of the loop
    fps: int = 30,
    psi: float = 0.7,  # truncation
    cutoff: int | None = None,  # truncate only layers below this one; None truncates all
    size: int | None = None,  # pixels of a side; None keeps the model's, but at least SMALLEST
    even: bool = True,  # False: equal steps along the path, uncorrected
    blends: tuple[Blend, ...] = (),  # layers of other models
) -> Pace:
    """Write a closed loop whose frames differ by nearly equal amounts."""
    # What can be wrong is found before the model is loaded.
    need_film(out)
    if seeds is not None and keys is not None:
        raise FigmentError("--seeds and --keys: give one of the two")
    if not 0 < seconds <= 3600 or not 1 <= fps <= 120 or round(seconds * fps) < 2:
        raise FigmentError(
            f"--seconds {seconds:g} at --fps {fps}: must make two frames or more, in an hour at most, "
            "at up to 120 a second"
        )
    rate = film_fps(out, fps)
    frames = round(seconds * rate)

    g = load_blended(model, blends)
    source = keys if keys is not None else seeds if seeds is not None else [0, 1] if path == "circle" else range(6)
    named = characters(g, source, psi, cutoff, "--keys" if keys is not None else "--seeds")
    way = closed_path(g, named, path, psi, cutoff)
    marks = key_marks(named, frames, seconds)
    loop = even_positions(lambda at: draw_path(g, way, at), frames, marks, rounds=ROUNDS if even else 0)

    pictures = loop.images if loop.images is not None else draw_path(g, way, loop.at)
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
    """Which frames the keys' times fall on; without times only the first frame is fixed."""
    if keys.times is None:
        return ((0, 0.0), (frames, 1.0))
    at = [round(time / seconds * frames) for time in keys.times]
    if at[0] != 0 or any(b <= a for a, b in pairwise([*at, frames])):
        raise FigmentError(
            f"--keys times {', '.join(f'{time:g}' for time in keys.times)}: must start at 0, rise by a "
            f"frame or more, and stay below --seconds {seconds:g}"
        )
    return (*((frame, index / len(keys)) for index, frame in enumerate(at)), (frames, 1.0))


@dataclass(frozen=True)
class Loop:
    """A loop whose pace was measured."""

    at: np.ndarray
    """Positions in turns, one a frame."""
    pace: Pace
    images: list[np.ndarray] | None
    """Its pictures, uint8 [C, H, W]; None where they would not fit into MEMORY."""


def even_positions(
    draw: Callable[[np.ndarray], Iterable[np.ndarray]],  # pictures of positions in turns, one by one
    frames: int,
    marks: Marks | None = None,  # None fixes the first frame alone
    rounds: int = ROUNDS,
) -> Loop:
    """Positions along a closed path whose pictures change by equal steps.

    The change is measured on what was drawn, summed up to an arc length, and divided into equal parts between marks;
    this is repeated on the new positions, and the most even loop seen is taken.
    """
    marks = marks or ((0, 0.0), (frames, 1.0))
    at = np.interp(np.arange(frames), [frame for frame, _ in marks], [turn for _, turn in marks])
    before, best = None, None
    for turn in range(rounds + 1):
        kept = _Kept()
        change = loop_changes(kept.keep(track(draw(at), f"pacing {turn + 1}" if rounds else "drawing", frames)))
        found = unevenness(change, marks)
        before = found if before is None else before
        if best is None or found < best.pace.after:
            best = Loop(at, Pace(before, found), kept.images)
        if found <= ENOUGH:
            break
        at = respace(at, change, marks)
    assert best is not None
    return best


class _Kept:
    """Pictures that pass, held as long as they fit into MEMORY."""

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
    """The root mean square change from each picture to the next, the last to the first: [C, H, W] each -> [N].

    Holds three pictures at a time.
    """
    found: list[float] = []
    first = before = None
    for image in images:
        if before is None:
            first = image
        else:
            found.append(_distance(before, image))
        before = image
    assert first is not None and before is not None
    return np.array([*found, _distance(before, first)])


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.square(b.astype(np.float32) - a).mean()))


def respace(
    at: np.ndarray,  # positions in turns, rising, the first 0
    change: np.ndarray,  # from each position to the next, the last to the first
    marks: Marks | None = None,  # None: the first frame alone is fixed
) -> np.ndarray:
    """Positions that divide the measured arc length between marks into equal parts."""
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
    """The largest change over the mean change between the same marks; 1 is perfectly even."""
    parts = [change[start:stop] for (start, _), (stop, _) in pairwise(marks)]
    return max(float(part.max() / max(part.mean(), 1e-9)) for part in parts)
