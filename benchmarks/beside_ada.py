"""Compare the seconds per 1,000 images with NVIDIA's PyTorch code: same networks, batch and losses, in one run.

    git clone https://github.com/NVlabs/stylegan2-ada-pytorch /tmp/ada
    python benchmarks/beside_ada.py /tmp/ada --resolution 64 --batch 8
    git clone https://github.com/NVlabs/stylegan3 /tmp/sg3
    for r in 256 512; do python benchmarks/beside_ada.py /tmp/sg3 --published --resolution $r; done    # on a GPU

`--published` uses the settings of the stylegan3 repository's own table of training speeds (StyleGAN2-ADA rows of
docs/configs.md): batch, gamma, channels and learning rate by resolution, augmentation, float16 on GPUs. Without it,
theirs runs in float32, and nothing is augmented. Each program has its own process, and their steps alternate. Steps
with lazy regularizers count by their share: R1 every 16 steps, path length every 4. figment uses its default
precision: bfloat16 on GPUs, and on CPUs with fast bfloat16 matrix products.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from theirs import PATH_EVERY, R1_EVERY, Theirs

from figment.base.device import describe_device, join_world, peak_memory
from figment.train.config import resolve
from figment.train.cost.throughput import Utilization
from figment.train.execution import warm_up_runs
from figment.train.state import new_state
from figment.train.trainer import Trainer

# fmt: off
#                       batch  gamma   base   lr
PUBLISHED: dict[int, tuple[int, float, int, float]] = {
    128:  (32, 0.1024, 16384, 0.0025),
    256:  (16, 0.8192, 16384, 0.0025),
    512:  (8,  6.5536, 32768, 0.0025),
    1024: (4,  52.43,  32768, 0.002),
}
# fmt: on
SPIN_COUNT = "20000"
"""GOMP_SPINCOUNT that the command line sets."""
Step = Callable[[bool, bool], None]
"""One step of training: with R1, with path length."""
Share = Callable[[float], float | None]
"""Utilization at a speed in seconds per 1,000 images."""


def ours(options: argparse.Namespace, images: torch.Tensor, device: torch.device) -> tuple[Step, Share]:
    """Return figment's step, and its utilization of the device's peak matmul speed."""
    config = resolve(
        Path("x"),
        "x",
        options.resolution,
        3,
        preset="auto",
        device=device.type,
        batch=options.batch,
        augment="ada" if options.published else "none",
        precision=options.precision,
        lr=options.lr,
        gamma=options.gamma,
        channel_base=options.channel_base,
        path_weight=options.path_weight,
    )
    world = join_world(device.type)
    trainer = Trainer(config, new_state(config, device), images.to(device), world)
    utilization = Utilization(config, world)

    def step(r1: bool, path: bool) -> None:
        trainer.state.step = {(False, False): 1, (True, True): 0, (False, True): 4}[r1, path]
        with utilization.counting(trainer):
            trainer.step()

    return step, utilization.share


def theirs(options: argparse.Namespace, images: torch.Tensor, device: torch.device) -> tuple[Step, Share]:
    """Return their step; its utilization is not measured."""
    program = Theirs(
        options.theirs,
        device,
        resolution=options.resolution,
        batch=options.batch,
        lr=options.lr,
        channel_base=options.channel_base,
        gamma=options.gamma,
        path_weight=options.path_weight,
        augment=options.published,
        half=options.published and device.type == "cuda",
    )

    def step(r1: bool, path: bool) -> None:
        real = images[torch.randint(len(images), (options.batch,))].to(device).float() / 127.5 - 1
        program.step(real, r1, path)

    return step, lambda sec: None


PROGRAMS = {"figment": ours, "theirs": theirs}


def work(name: str, options: argparse.Namespace, pipe: Any) -> None:
    """Run one program: answer each requested step with its seconds, and the final speed with memory and utilization."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = name == "theirs"  # each program's own setting
    data = np.random.default_rng(0).integers(0, 256, (64, 3, options.resolution, options.resolution), np.uint8)
    step, share = PROGRAMS[name](options, torch.from_numpy(data), device)
    while isinstance(flags := pipe.recv(), tuple):
        start = time.perf_counter()
        step(*flags)
        if device.type == "cuda":
            torch.cuda.synchronize()
        pipe.send(time.perf_counter() - start)
    pipe.send((peak_memory(device) / 1e9, share(flags)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("theirs", type=Path, help="a checkout of stylegan2-ada-pytorch or stylegan3")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--published", action="store_true", help="use the settings of the published table")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--gamma", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=0.0025)
    parser.add_argument("--channel-base", type=int, default=16384)
    parser.add_argument("--path-weight", type=float, default=2.0)
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="figment's precision (default: what it picks)")
    parser.add_argument("--same-threads", action="store_true", help="let theirs wait for threads like figment")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.published:
        if options.resolution not in PUBLISHED:
            parser.error(f"--resolution {options.resolution}: must be one of {', '.join(map(str, PUBLISHED))}")
        options.batch, options.gamma, options.channel_base, options.lr = PUBLISHED[options.resolution]

    # Start the two programs. The command line sets GOMP_SPINCOUNT for figment; theirs has OpenMP's default.
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for name in PROGRAMS:
        pipes[name], end = context.Pipe()
        context.Process(target=work, args=(name, options, end), daemon=True).start()
        end.close()  # so that recv() raises EOFError if the program dies
        if not options.same_threads:
            os.environ.pop("GOMP_SPINCOUNT", None)

    # Plain steps, steps with path length, steps with both: each kind in turn, after a warm-up.
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    warm_up = warm_up_runs(device) + (device.type == "cuda")  # counting FLOPs runs without CUDA graphs
    kinds = {"plain": (False, False), "path": (False, True), "both": (True, True)}
    times: dict[tuple[str, str], list[float]] = {}
    for round_ in range(options.rounds + warm_up):
        for kind, flags in kinds.items():
            for name, pipe in pipes.items():
                pipe.send(flags)
                sec = pipe.recv()
                if round_ >= warm_up:
                    times.setdefault((name, kind), []).append(sec)

    print(
        f"{describe_device(device)}, {options.resolution}px, batch {options.batch}, figment in "
        f"{options.precision or 'its default precision'} beside {options.theirs.name}"
    )
    pace = {}
    for name, pipe in pipes.items():
        plain, path, both = (statistics.median(times[name, kind]) for kind in kinds)
        sec = plain + (path - plain) / PATH_EVERY + (both - path) / R1_EVERY
        pace[name] = sec / options.batch * 1000
        pipe.send(pace[name])
        memory, share = pipe.recv()
        print(
            f"{name:<8} {pace[name]:8.2f} s/kimg   (steps: {plain:.3f} s, {path:.3f} s with path length, "
            f"{both:.3f} s with R1 too)   {memory:.1f} GB{f'   {share:.0%} of ceiling' if share else ''}"
        )
    print(f"ratio    {pace['figment'] / pace['theirs']:.3f}")


if __name__ == "__main__":
    main()
