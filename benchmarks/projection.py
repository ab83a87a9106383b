"""Project 20 images that a 64x64 model drew back into its latent space, and measure how close the results are.

python benchmarks/projection.py
python benchmarks/projection.py runs/00000-heads --count 20 --space w+
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import figment
from figment.draw.perceptual import Perceptual
from figment.draw.project import STEPS, project_picture
from figment.train.state import STARTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=STARTS[64])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--space", default="w")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--sheet", type=Path, help="write targets and results as one image to this file")
    options = parser.parse_args()
    model = figment.load(str(options.model))
    g, d = model.generator.eval().requires_grad_(False), model.d.eval().requires_grad_(False)
    likeness = Perceptual(d)
    z = torch.randn(options.count, g.z_dim, generator=torch.Generator().manual_seed(1234))
    with torch.no_grad():
        pictures = g.synthesis(g.mapping(z, truncation_psi=0.8), noise="const").clamp(-1, 1)

    # Baseline: distances between random images.
    apart, pixels = [], []
    for i in range(options.count):
        with torch.no_grad():
            seen = likeness.look(pictures[i : i + 1])
            others = torch.cat([pictures[:i], pictures[i + 1 :]])
            apart += likeness(others, seen).tolist()
            pixels += (others - pictures[i]).square().mean([1, 2, 3]).tolist()

    rows, started, found = [], time.perf_counter(), []
    for i in range(options.count):
        result = project_picture(g, pictures[i : i + 1], d=d, space=options.space, steps=options.steps)
        with torch.no_grad():
            drawn = g.synthesis(result.w, noise="const")
        found.append(drawn[0].clamp(-1, 1))
        rows.append((result.distance, float((drawn - pictures[i : i + 1]).square().mean())))
        print(f"{i:3d}  distance {rows[-1][0]:.4f}   pixels {rows[-1][1]:.5f}", flush=True)
    sec = (time.perf_counter() - started) / options.count
    distances, errors = np.array(rows).T
    print(
        f"found: distance {distances.mean():.4f} (worst {distances.max():.4f}), pixels {errors.mean():.5f} (worst "
        f"{errors.max():.5f}); random pairs: {np.mean(apart):.4f} and {np.mean(pixels):.5f}; {sec:.0f} s per image"
    )
    if options.sheet:
        from figment.base.pixels import to_uint8, write_png
        from figment.draw.grid import make_grid

        write_png(options.sheet, make_grid(to_uint8(torch.cat([pictures, torch.stack(found)])).numpy(), options.count))


if __name__ == "__main__":
    main()
