"""Sweep the truncation psi through zero: from each character to its opposite on the other side of the mean.

figment sweep runs/00000-heads -o sweep.png --seeds 0-5 --steps 9
figment sweep runs/00000-heads -o sweep.mp4 --seeds 0-5 --seconds 6
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from figment.base.errors import FigmentError
from figment.base.files import keep_input, write_json
from figment.base.pixels import write_png
from figment.base.progress import track
from figment.draw.blend import Blend, load_blended
from figment.draw.characters import characters
from figment.draw.grid import make_grid
from figment.draw.morph import SMALLEST
from figment.draw.render import render
from figment.draw.video import ENDINGS, film_fps, write_film
from figment.nets.mapping import truncate


def sweep(
    model: Path,  # a model file or a run
    out: Path,  # .png with one row per character; .mp4, .gif or .webp: forth and back
    *,
    seeds: str | Sequence[int] = (0, 1, 2, 3),  # seeds, or a file of latents
    start: float = -1.0,  # first psi
    stop: float = 1.0,  # last psi
    steps: int = 9,  # columns of the .png
    seconds: float = 6.0,  # length of a video
    fps: int = 30,  # frames per second of a video
    cutoff: int | None = None,  # truncate only layers below this one; None truncates all
    blends: tuple[Blend, ...] = (),  # layers of other models
) -> None:
    """Draw characters at truncation psi from `start` to `stop` (Karras et al. 2018, arXiv 1812.04948, appendix B).

    Raises FigmentError for options out of range.
    """
    if out.suffix not in (".png", *ENDINGS):
        raise FigmentError(f"--output {out}: must end in .png, {', '.join(ENDINGS)}")
    if not 2 <= steps <= 1000 or not max(abs(start), abs(stop)) <= 10 or start == stop:
        raise FigmentError(
            f"--start {start:g} --stop {stop:g} --steps {steps}: must be different, from -10 to 10, in 2 to 1000 steps"
        )
    if not 0 < seconds <= 3600 or not 1 <= fps <= 120 or seconds * fps < 2:
        raise FigmentError(
            f"--seconds {seconds:g} at --fps {fps}: must be at least two frames and at most an hour, at 1 to 120 fps"
        )
    g = load_blended(model, blends)
    named = characters(g, seeds, 1.0)
    keep_input(seeds, "--seeds", out.with_suffix(".json"))
    mean = g.w_avg.detach().cpu()  # [D]

    if out.suffix == ".png":
        psis = np.linspace(start, stop, steps)
        ws = torch.stack([truncate(named.w, mean, float(psi), cutoff) for psi in psis], 1)  # [N, steps, L, D]
        write_png(out, make_grid(render(g, ws.flatten(0, 1)), steps))
    else:
        # Forth and back along a cosine, which slows down at both ends.
        rate = film_fps(out, fps)
        turns = np.arange(round(seconds * rate)) / round(seconds * rate)
        psis = start + (stop - start) * (1 - np.cos(2 * np.pi * turns)) / 2
        columns = int(np.ceil(np.sqrt(len(named))))

        def frames() -> Iterator[np.ndarray]:
            for psi in track(psis, "sweeping"):
                yield render(g, truncate(named.w, mean, float(psi), cutoff))

        write_film(
            out, (make_grid(images, columns) for images in frames()), rate, max(SMALLEST, columns * g.resolution)
        )
    write_json(
        out.with_suffix(".json"),
        {
            "model": str(model),
            "seeds": list(named.seeds),
            "names": list(named.names),
            "start": start,
            "stop": stop,
            "steps": len(psis),
            "cutoff": cutoff,
        },
    )
