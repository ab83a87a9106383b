"""Measure how even the pace of a loop is per kind of path, uncorrected and corrected: largest over mean change.

    python benchmarks/even_pace.py                            # the shipped start network, 10 s at 30 and 60 fps
    python benchmarks/even_pace.py runs/00003-heads --fps 30

Uncorrected steps are equal along the path. The change is the root mean square difference between the pixels of two
frames, including the step from the last frame to the first. The table also shows how often each loop was drawn, and
CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from figment.draw.characters import characters
from figment.draw.morph import even_positions
from figment.draw.paths import KINDS, closed_path, draw_path
from figment.draw.render import load_generator
from figment.train.state import STARTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=STARTS[64])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--fps", type=int, nargs="+", default=[30, 60])
    parser.add_argument("--psi", type=float, default=0.7)
    options = parser.parse_args()

    g, _ = load_generator(options.model)
    print(f"{'path':<10} {'fps':>3} {'uncorrected':>11} {'corrected':>9} {'last step':>9} {'drawn':>5} {'CPU s':>6}")
    for fps in options.fps:
        for kind in KINDS:
            way = closed_path(g, characters(g, [0, 1] if kind == "circle" else range(6)), kind, options.psi)
            passes = []

            def draw(at: np.ndarray, way=way, passes=passes):
                passes.append(len(at))
                return draw_path(g, way, at)

            began = time.process_time()
            loop = even_positions(draw, round(options.seconds * fps))
            spent = time.process_time() - began
            images = loop.images or list(draw_path(g, way, loop.at))
            steps = [
                np.sqrt(np.square(images[at].astype(np.float32) - images[at - 1]).mean()) for at in range(len(images))
            ]  # the first is the step from the last frame to the first
            print(
                f"{kind:<10} {fps:>3} {loop.pace.before:>11.3f} {max(steps) / np.mean(steps):>9.3f} "
                f"{steps[0] / np.mean(steps):>9.3f} {len(passes):>5} {spent:>6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
