"""Draw characters by seed or from saved latents: one PNG each with its settings, and a grid of all.

figment sample runs/00000-heads -o out --seeds 0-63 --grid 8x8 --psi 0.7
figment sample runs/00000-heads -o out --latents hero.npz
figment sample runs/00000-heads -o out --noise-strength 0-3:0,fine:2
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError
from figment.base.files import keep_input, write_bytes, write_json
from figment.base.pixels import write_png
from figment.base.progress import track
from figment.draw.blend import Blend, load_blended, scale_noise
from figment.draw.characters import characters
from figment.draw.grid import make_grid
from figment.draw.render import NOISES, picture_png, render_each


def sample(
    model: Path,  # a model file or a run
    out: Path,  # folder for the PNGs, grid.png, sample.json and latents.npz
    *,
    seeds: list[int] | None = None,  # None means `latents`, or 0 to 63
    latents: Path | None = None,  # a .npz or .json of z or w instead of seeds
    grid: tuple[int, int] | None = None,  # columns and rows; None makes it about square
    psi: float = 0.7,  # truncation
    cutoff: int | None = None,  # truncate only layers below this one; None truncates all
    noise: str = "const",  # const, random (seeded by the character's seed) or none
    noise_strength: str | None = None,  # a factor, or layers with a factor each: "0-3:0,fine:2"; None for no change
    blends: tuple[Blend, ...] = (),  # layers of other models
    rotate: float = 0.0,  # degrees counterclockwise
    shift: tuple[float, float] = (0.0, 0.0),  # to the right and down, as shares of the width
) -> None:
    """Draw each character to seed0000.png with seed0000.json and so on, and as many as fit into grid.png.

    latents.npz holds their w, so that they can be drawn, mixed and edited later without their seeds. Raises
    FigmentError for options that don't fit.
    """
    if seeds is not None and latents is not None:
        raise FigmentError("--seeds and --latents: give one of the two")
    if noise not in NOISES:
        raise FigmentError(f"--noise {noise}: must be one of {', '.join(NOISES)}")
    if grid and seeds is not None:
        _need_enough(grid, len(seeds), "--seeds")
    g = load_blended(model, blends)
    g = scale_noise(g, noise_strength) if noise_strength is not None else g
    if rotate or any(shift):
        flag = f"--rotate {rotate:g}" if rotate else f"--shift {shift[0]:g},{shift[1]:g}"
        try:
            g.move(rotate, shift)
        except FigmentError as error:
            raise FigmentError(f"{flag}: {error}") from None
    drawn = characters(
        g, latents or (range(64) if seeds is None else seeds), psi, cutoff, "--latents" if latents else "--seeds"
    )
    if grid:
        _need_enough(grid, len(drawn), "--latents" if latents else "--seeds")
    outputs = [out / f"{name}.json" for name in drawn.names]
    keep_input(latents, "--latents", *outputs, out / "sample.json", out / "latents.npz")
    settings = {
        "model": str(model),
        "psi": psi,
        "cutoff": cutoff,
        "noise": noise,
        "noise_strength": noise_strength,
        "latents": str(latents) if latents else None,
        "blend": [each.settings() for each in blends],
        "rotate": rotate,
        "shift": list(shift),
    }

    # One file per character; its random noise follows from its seed.
    noise_seeds = [at if seed is None else seed for at, seed in enumerate(drawn.seeds)]
    images = []
    pictures = track(render_each(g, drawn.w, noise, noise_seeds), "drawing", len(drawn))
    for name, seed, noise_seed, image in zip(drawn.names, drawn.seeds, noise_seeds, pictures, strict=True):
        write_bytes(out / f"{name}.png", picture_png(image.transpose(1, 2, 0)))
        row = {"seed": seed, **settings, "noise_seed": noise_seed if noise == "random" else None}
        write_json(out / f"{name}.json", row)
        images.append(image)

    # Grid, latents and settings of all.
    columns = grid[0] if grid else math.ceil(math.sqrt(len(images)))
    shown = images[: grid[0] * grid[1]] if grid else images
    write_png(out / "grid.png", make_grid(np.stack(shown), columns))
    data = io.BytesIO()
    np.savez(data, w=drawn.w.numpy())
    write_bytes(out / "latents.npz", data.getvalue())
    named = {"seeds": list(drawn.seeds), "names": list(drawn.names)}
    write_json(out / "sample.json", {**named, **settings, "columns": columns})


def _need_enough(grid: tuple[int, int], count: int, flag: str) -> None:
    if grid[0] * grid[1] > count:
        raise FigmentError(f"--grid {grid[0]}x{grid[1]}: needs {grid[0] * grid[1]} characters; {flag} names {count}")
