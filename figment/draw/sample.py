"""Characters by seed: a PNG each and a grid of all.

    figment sample runs/00000-heads -o out --seeds 0-63 --grid 8x8 --psi 0.7
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError
from figment.base.files import write_json
from figment.base.pixels import write_png
from figment.base.progress import track
from figment.draw.grid import make_grid
from figment.draw.latents import seeds_to_w
from figment.draw.render import load_generator, render_each


def sample(
    model: Path,                             # a model file or a run
    out: Path,                               # folder for the PNGs, grid.png and sample.json
    *,
    seeds: list[int],
    grid: tuple[int, int] | None = None,     # columns and rows; None: about as wide as high
    psi: float = 0.7,                        # truncation
    cutoff: int | None = None,               # truncate only layers below this one; None truncates all
    noise: str = "const",                    # const, random or none
) -> None:
    """Draw `seeds`, each to seed0000.png and so on, and as many as fit into grid.png."""
    if grid and grid[0] * grid[1] > len(seeds):
        raise FigmentError(f"--grid {grid[0]}x{grid[1]}: needs {grid[0] * grid[1]} seeds, --seeds names {len(seeds)}")
    g, _ = load_generator(model)
    ws = seeds_to_w(g, seeds, psi, cutoff)
    images = []
    for seed, image in zip(seeds, track(render_each(g, ws, noise), "drawing", len(seeds)), strict=True):
        write_png(out / f"seed{seed:04d}.png", image.transpose(1, 2, 0).squeeze())
        images.append(image)
    columns = grid[0] if grid else math.ceil(math.sqrt(len(seeds)))
    shown = images[: grid[0] * grid[1]] if grid else images
    write_png(out / "grid.png", make_grid(np.stack(shown), columns))
    write_json(out / "sample.json", {"model": str(model), "seeds": seeds, "psi": psi, "cutoff": cutoff, "noise": noise,
                                     "columns": columns})
