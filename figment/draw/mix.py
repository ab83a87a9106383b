"""Draw a table of style mixes (Karras et al. 2018, arXiv 1812.04948, figure 3).

figment mix runs/00000-heads -o mix.png --rows 0-3 --columns 10-15
figment mix runs/00000-heads -o mix.png --rows hero.npz --columns 10-15 --layers middle
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from figment.base.errors import FigmentError
from figment.base.files import keep_input, need_ending, write_json
from figment.base.pixels import write_png
from figment.draw.blend import Blend, load_blended
from figment.draw.characters import Characters, characters
from figment.draw.grid import make_grid
from figment.draw.latents import bands_of, mix_styles, parse_layers
from figment.draw.render import render
from figment.nets.base import Generator

MOST_CELLS = 10_000
"""Upper limit of cells of a table."""


def mix(
    model: Path,  # a model file or a run
    out: Path,  # PNG; its settings go beside it as .json
    *,
    rows: str | Sequence[int],  # seeds, or a file of latents, that give all other layers
    columns: str | Sequence[int],  # seeds, or a file of latents, that give the layers of the band
    layers: str | None = None,  # a band such as middle or a range such as 4-9; None draws a table for each band
    psi: float = 0.7,  # truncation
    cutoff: int | None = None,  # truncate only layers below this one; None truncates all
    blends: tuple[Blend, ...] = (),  # layers of other models
) -> None:
    """Draw the sources along the top and the left, and in each cell the row's character with the column's style.

    Raises FigmentError for unknown characters or layers.
    """
    need_ending(out, ".png")
    g = load_blended(model, blends)
    names = [layers] if layers is not None else bands_of(g)
    bands = [parse_layers(name, g) for name in names]
    left, top = characters(g, rows, psi, cutoff, "--rows"), characters(g, columns, psi, cutoff, "--columns")
    for source, flag in ((rows, "--rows"), (columns, "--columns")):
        keep_input(source, flag, out.with_suffix(".json"))
    if len(left) * len(top) > MOST_CELLS:
        raise FigmentError(
            f"--rows and --columns: {len(left)} x {len(top)} cells; a table must have at most {MOST_CELLS}"
        )

    sources = render(g, left.w), render(g, top.w)
    tables = [_table(g, left, top, band, sources) for band in bands]
    write_png(out, make_grid(np.concatenate(tables), len(top) + 1))
    write_json(
        out.with_suffix(".json"),
        {
            "model": str(model),
            "rows": list(left.names),
            "columns": list(top.names),
            "layers": names,
            "bands": [[first, stop - 1] for first, stop in bands],
            "psi": psi,
            "cutoff": cutoff,
            "blend": [each.settings() for each in blends],
        },
    )


def _table(
    g: Generator,
    left: Characters,
    top: Characters,
    band: tuple[int, int],  # first layer, and the one after the last
    sources: tuple[np.ndarray, np.ndarray],  # images of `left` and `top`
) -> np.ndarray:
    """Return the cells of one table row by row, uint8 [(1 + rows) * (1 + columns), C, H, W]; the corner is black."""
    mixed = torch.stack([mix_styles(row, column, band) for row in left.w for column in top.w])
    cells = render(g, mixed)
    cells = cells.reshape(len(left), len(top), *cells.shape[1:])  # [R, K, C, H, W]
    lines = [np.zeros_like(sources[1][:1]), sources[1]]
    for source, line in zip(sources[0], cells, strict=True):
        lines += [source[None], line]
    return np.concatenate(lines)
