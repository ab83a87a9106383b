"""Kill training at random moments while it writes checkpoints, and check that it always resumes from an intact one.

    python benchmarks/kill_checkpoint.py --kills 50

A tiny network writes a checkpoint after every step, so most of the time is spent on checkpoints. After each SIGKILL the
newest readable checkpoint must be at most one tick older than the last line that the run printed.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from figment.base.pixels import write_png
from figment.pack.zips import pack
from figment.train.config import read_config
from figment.train.state import load_newest, new_state

BATCH = 4


def command(data: Path, runs: Path, resume: bool) -> list[str]:
    """Return the command that starts or resumes a run with a checkpoint of a few megabytes after every step."""
    begin = [sys.executable, "-m", "figment", "train"]
    if resume:
        return [*begin, "--resume", "-o", str(runs)]
    return [
        *begin,
        str(data),
        "-o",
        str(runs),
        "--channel-base",
        "512",
        "--batch",
        str(BATCH),
        "--tick-kimg",
        str(BATCH / 1000),
        "--kimg",
        "1000",
        "--device",
        "cpu",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        for i in range(8):
            write_png(folder / "in" / f"{i}.png", rng.integers(0, 256, (16, 16, 3), np.uint8))
        data, runs = folder / "heads.zip", folder / "runs"
        pack(folder / "in", data, resolution=16)

        damaged = 0
        for kill in range(options.kills):
            process = subprocess.Popen(command(data, runs, kill > 0), stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            lines = [next(process.stdout) for _ in range(2)]
            time.sleep(chance.uniform(0.05, 1.0))
            process.kill()
            lines += process.stdout.readlines()
            process.wait()
            ticks = [float(found[1]) for line in lines if (found := re.search(r"^tick \S+ +kimg +(\S+)", line))]

            run = next(runs.iterdir())
            config = read_config(run / "config.json")
            state = new_state(config, torch.device("cpu"))
            damaged += len(load_newest(run, state, torch.device("cpu")))
            last = max(ticks, default=0.0)
            if state.nimg / 1000 < last - 0.05 - BATCH / 1000:  # kimg are printed to 0.1
                sys.exit(f"kill {kill}: the last line said {last} kimg, the checkpoint has {state.nimg / 1000}")
        print(
            f"{options.kills} kills: always an intact checkpoint, none older than a tick; "
            f"{damaged} damaged files skipped; {state.nimg / 1000:.2f} kimg reached"
        )


if __name__ == "__main__":
    main()
