"""Make a video of a training run from its grids of fakes.

figment film runs/00000-heads -o film.mp4
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from figment.base.errors import FigmentError
from figment.base.files import find_run
from figment.base.pixels import open_image
from figment.base.progress import track
from figment.draw.video import film_fps, need_film, write_film

FPS = 24
SECONDS = 12.0
"""Length of a video; longer if there are more grids than frames."""
LAST = 2.0
"""Extra seconds for the last grid."""
LARGEST = 1080
"""Limit of the longer side in pixels."""


def film(
    run: Path,  # a run's folder
    out: Path,  # the .mp4, .gif or .webp to write
) -> None:
    """Write the run's grids of fakes in order, each for the same time, the last one for two seconds more.

    Raises FigmentError for a run without grids, or an unknown kind of video.
    """
    need_film(out)
    run = find_run(run, "RUN")
    grids = sorted((run / "fakes").glob("*.png"))
    if not grids:
        raise FigmentError(f"RUN {run}: has no grids in fakes/ yet")
    fps = film_fps(out, FPS)
    hold = max(1, min(round(fps / 2), round(SECONDS * fps / len(grids))))
    side = min(max(open_image(grids[-1]).size), LARGEST)

    def frames() -> Iterator[Image.Image]:
        for path in track(grids, "filming"):
            image = open_image(path)
            yield from [image] * hold
        yield from [image] * round(LAST * fps)

    write_film(out, frames(), fps, side)
