"""The table of style mixes (Karras 2019, figure 3): source rows times style columns.

    figment mix runs/00000-heads -o mix.png --rows 0-3 --columns 10-15 --layers middle
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from figment.base.files import write_json
from figment.base.pixels import write_png
from figment.draw.grid import make_grid
from figment.draw.latents import mix_styles, parse_layers, seeds_to_w
from figment.draw.render import load_generator, render


def mix(
    model: Path,                    # a model file or a run
    out: Path,                      # the PNG to write; its settings go beside it as .json
    *,
    rows: list[int],                # seeds that give all layers but those of `layers`
    columns: list[int],             # seeds that give the layers of `layers`
    layers: str = "middle",         # coarse, middle, fine, or a range such as 4-9
    psi: float = 0.7,               # truncation
) -> None:
    """Draw the sources along the top and the left, and in each cell the row's character with the column's style."""
    g, _ = load_generator(model)
    band = parse_layers(layers, g.num_layers)
    row_ws, column_ws = seeds_to_w(g, rows, psi), seeds_to_w(g, columns, psi)
    mixed = torch.stack([mix_styles(row, column, band) for row in row_ws for column in column_ws])

    # Sources first, then the cells row by row; the corner stays empty.
    top, left, cells = render(g, column_ws), render(g, row_ws), render(g, mixed)
    cells = cells.reshape(len(rows), len(columns), *cells.shape[1:])          # [R, K, C, H, W]
    corner = np.zeros_like(top[:1])
    lines = [corner, top]
    for source, line in zip(left, cells, strict=True):
        lines += [source[None], line]
    write_png(out, make_grid(np.concatenate(lines), len(columns) + 1))
    write_json(out.with_suffix(".json"), {"model": str(model), "rows": rows, "columns": columns, "layers": layers,
                                          "psi": psi})
