"""Compare what figment and stylegan2-ada-pytorch learn in equal time: 64x64, 2,000 DiceBear `adventurer` heads.

    git clone https://github.com/NVlabs/stylegan2-ada-pytorch /tmp/ada
    python benchmarks/learn_beside_ada.py /tmp/ada -o learn --minutes 20 --seeds 0 1 2
    python benchmarks/learn_beside_ada.py /tmp/ada -o learn --minutes 0      # only print the table so far

All train from random weights for the same wall-clock time, one after the other, with their own defaults: figment with
its `cpu` preset, the same with the usual discriminator, and theirs with its `auto` settings (batch 32, ADA with bgc)
and unmodified networks, loss, augmentation and steps. Each draws 2,000 characters with the averaged generator, without
truncation, which are scored against the 2,000 heads by features that no discriminator looked through. Each training
runs in its own process; a finished one is not repeated.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judge import figures, judge_folder, table
from PIL import Image
from theirs import PATH_EVERY, R1_EVERY, Theirs

from figment.base.device import join_world, keep_freed_memory
from figment.base.pixels import to_uint8, write_png
from figment.demo.styles import draw
from figment.draw.grid import make_grid
from figment.score.parts import PartsJudge
from figment.score.score import score
from figment.train.config import resolve
from figment.train.state import new_state
from figment.train.trainer import Trainer

HEADS, FAKES, SIDE, SEED = 2000, 2000, 64, 500_000


def heads(folder: Path) -> np.ndarray:
    """Return the data, uint8 [2000, 3, 64, 64], and write it as PNGs to `folder`."""
    cache = folder.parent / "heads.npy"
    if not cache.exists():
        folder.mkdir(parents=True, exist_ok=True)
        drawn = [
            Image.alpha_composite(Image.new("RGBA", (SIDE, SIDE), "white"), draw("adventurer", SEED + i, SIDE))
            for i in range(HEADS)
        ]
        for i, head in enumerate(drawn):
            write_png(folder / f"{i:04d}.png", head.convert("RGB"))
        np.save(cache, np.stack([np.asarray(head.convert("RGB")).transpose(2, 0, 1) for head in drawn]))
    return np.load(cache)


def figment(images: np.ndarray, seed: int, sec: float, _: Path, **given: Any) -> tuple[Any, float]:
    """Train figment's `cpu` preset with these settings for `sec` seconds; return what draws its fakes, and the kimg."""
    config = resolve(Path("x"), "x", SIDE, 3, preset="cpu", seed=seed, **given)
    world = join_world("cpu")
    trainer, started = (
        Trainer(config, new_state(config, world.device), torch.from_numpy(images), world),
        time.perf_counter(),
    )
    while time.perf_counter() - started < sec:
        trainer.step()
    g = trainer.state.g_ema

    def make(z: torch.Tensor) -> torch.Tensor:
        return g.synthesis(g.mapping(z), noise="const")

    return (make, g.z_dim), trainer.state.nimg / 1000


def stylegan2_ada(images: np.ndarray, seed: int, sec: float, code: Path) -> tuple[Any, float]:
    """Train theirs as its own loop does, with what its `auto` picks for one device at 64 pixels."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    batch, target = 32, 0.6
    program = Theirs(
        code,
        torch.device("cpu"),
        resolution=SIDE,
        batch=batch,
        channel_base=16384,
        gamma=0.0002 * SIDE**2 / batch,
        augment=True,
    )
    from torch_utils import training_stats

    signs = training_stats.Collector(regex="Loss/signs/real")
    step, shown, started = 0, 0, time.perf_counter()
    while time.perf_counter() - started < sec:
        real = torch.from_numpy(images[rng.integers(len(images), size=batch)]).float() / 127.5 - 1
        flip = torch.from_numpy(rng.random(batch) < 0.5)[:, None, None, None]

        # The EMA ramps up, and the strength of the augmentation changes every four steps.
        shown += batch
        half_life = min(batch * 10 / 32 * 1000, shown * 0.05)
        program.step(
            torch.where(flip, real.flip(3), real),
            step % R1_EVERY == 0,
            step % PATH_EVERY == 0,
            0.5 ** (batch / max(half_life, 1e-8)),
        )
        step += 1
        if step % 4 == 0:
            signs.update()
            change = np.sign(signs["Loss/signs/real"] - target) * (batch * 4) / (500 * 1000)
            program.augment.p.copy_((program.augment.p + change).clamp(min=0))

    def make(z: torch.Tensor) -> torch.Tensor:
        return program.average(z, program.labels[: len(z)], noise_mode="const")

    return (make, 512), shown / 1000


PROGRAMS = {
    "figment": figment,
    "figment-usual-d": functools.partial(figment, discriminator="family"),
    "stylegan2-ada": stylegan2_ada,
}


@torch.no_grad()
def write_fakes(make: Any, z_dim: int, folder: Path) -> None:
    """Write 2,000 characters as PNGs, and a grid of the first ones."""
    keep_freed_memory()
    randomness = torch.Generator().manual_seed(12345)
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, FAKES, 25):
        pictures = to_uint8(make(torch.randn(25, z_dim, generator=randomness))).numpy()  # [25, 3, H, W]
        for i, picture in enumerate(pictures):
            write_png(folder / f"{start + i:04d}.png", picture.transpose(1, 2, 0))
        if start == 0:
            write_png(folder.parent / f"{folder.name}.png", make_grid(pictures, 5))


@contextmanager
def waiting_as(name: str) -> Iterator[None]:
    """Let processes started inside wait for threads as the program does: figment's command line shortens that."""
    before = os.environ.pop("GOMP_SPINCOUNT", None)
    if name.startswith("figment"):
        os.environ["GOMP_SPINCOUNT"] = before or "20000"
    yield
    os.environ.pop("GOMP_SPINCOUNT", None)
    if before is not None:
        os.environ["GOMP_SPINCOUNT"] = before


def learn(name: str, seed: int, options: argparse.Namespace) -> None:
    """Train one program with one seed; write its fakes and the kimg shown."""
    images = heads(options.output / "real")
    (make, z_dim), kimg = PROGRAMS[name](images, seed, options.minutes * 60, options.theirs)
    write_fakes(make, z_dim, options.output / f"{name}-{seed}")
    summary = {"minutes": options.minutes, "kimg": kimg}
    (options.output / f"{name}-{seed}.json").write_text(json.dumps(summary))
    print(f"{name}, seed {seed}: {kimg:.1f} kimg in {options.minutes:g} minutes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("theirs", type=Path, help="a checkout of stylegan2-ada-pytorch")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=[*PROGRAMS])
    options = parser.parse_args()
    real = options.output / "real"
    heads(real)
    for seed in options.seeds:
        for name in options.programs:
            done = options.output / f"{name}-{seed}.json"
            if done.exists() or not options.minutes:
                continue
            process = multiprocessing.get_context("spawn").Process(target=learn, args=(name, seed, options))
            with waiting_as(name):
                process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"{name}, seed {seed}: ended with {process.exitcode}")

    judge = PartsJudge()
    data = judge_folder(judge, real, "REAL")
    verdicts = {"data": figures(data, data)}
    for name in PROGRAMS:
        rows = []
        for done in sorted(options.output.glob(f"{name}-[0-9]*.json")):
            result = score(done.with_suffix(""), real, features="parts", images=FAKES)
            rows.append(result.distance)
            verdicts[done.stem] = figures(judge_folder(judge, done.with_suffix(""), "FAKES"), data)
            summary = json.loads(done.read_text())
            print(
                f"{done.stem:<18} {summary['kimg']:7.1f} kimg   FD-parts {result.distance:8.3f}   precision "
                f"{result.precision:.3f}   recall {result.recall:.3f}   coverage {result.coverage:.3f}",
                flush=True,
            )
        if rows:
            print(f"{name:<18} FD-parts {statistics.mean(rows):.3f}, from {min(rows):.3f} to {max(rows):.3f}")
    print(table(verdicts))


if __name__ == "__main__":
    main()
