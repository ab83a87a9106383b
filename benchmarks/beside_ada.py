"""Seconds per 1,000 images beside the stylegan2-ada PyTorch code: same networks, batch and losses, in one run.

    git clone https://github.com/NVlabs/stylegan2-ada-pytorch /tmp/ada
    python benchmarks/beside_ada.py /tmp/ada --resolution 64 --batch 8

Their networks and their loss class run as they are (their plain PyTorch operations where there is no GPU), float32,
without augmentation and labels. Each program is a process of its own, and steps of both alternate. A step is weighted
for the lazy parts it skips: R1 every 16 steps, path length every 4. Their code is under a non-commercial licence and no
part of figment. figment's precision is what it takes by itself: bfloat16 on GPUs and CPUs that multiply matrices of it.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from figment.base.dist import join_world
from figment.pack.sampler import EndlessSampler
from figment.train.bench import describe_device
from figment.train.config import resolve
from figment.train.state import new_state
from figment.train.step import train_step

R1_EVERY, PATH_EVERY = 16, 4
Step = Callable[[bool, bool], None]
"""One step of training: with R1, with path length."""


def ours(options: argparse.Namespace, images: torch.Tensor, device: torch.device) -> Step:
    """figment's step."""
    config = resolve(Path("x"), "x", options.resolution, 3, preset="auto", batch=options.batch, augment="none",
                     precision=options.precision, channel_base=options.channel_base, path_weight=options.path_weight)
    world = join_world(device.type)
    state = new_state(config, device)
    sampler = EndlessSampler(len(images), 0, True)
    on_device = images.to(device)

    def step(r1: bool, path: bool) -> None:
        state.step = {(False, False): 1, (True, True): 0, (False, True): 4}[r1, path]
        train_step(config, state, on_device, sampler, world)
    return step


def theirs(options: argparse.Namespace, images: torch.Tensor, device: torch.device) -> Step:
    """Their phases as their training loop runs them: Gmain, Greg, Dmain, Dreg, then the average."""
    sys.path.insert(0, str(options.theirs))
    warnings.simplefilter("ignore")
    from training.loss import StyleGAN2Loss
    from training.networks import Discriminator, Generator

    shared: dict[str, Any] = {"c_dim": 0, "img_resolution": options.resolution, "img_channels": 3}
    widths = {"channel_base": options.channel_base, "channel_max": 512, "num_fp16_res": 0, "conv_clamp": None}
    g = Generator(z_dim=512, w_dim=512, mapping_kwargs={"num_layers": 2}, synthesis_kwargs=widths, **shared)
    d = Discriminator(**widths, epilogue_kwargs={"mbstd_group_size": 4}, **shared)
    g, d = g.to(device).train().requires_grad_(False), d.to(device).train().requires_grad_(False)
    average = copy.deepcopy(g).eval()
    loss = StyleGAN2Loss(device, g.mapping, g.synthesis, d, r1_gamma=0.1, pl_weight=options.path_weight)
    adam = {net: torch.optim.Adam(net.parameters(), lr=0.0025, betas=(0.0, 0.99), eps=1e-8) for net in (g, d)}
    labels = torch.zeros(options.batch, 0, device=device)

    def phase(name: str, net: torch.nn.Module, real: torch.Tensor, gain: int) -> None:
        net.requires_grad_(True)
        adam[net].zero_grad(set_to_none=True)
        z = torch.randn(options.batch, 512, device=device)
        loss.accumulate_gradients(phase=name, real_img=real, real_c=labels, gen_z=z, gen_c=labels, sync=True, gain=gain)
        net.requires_grad_(False)
        for parameter in net.parameters():
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0, posinf=1e5, neginf=-1e5, out=parameter.grad)
        adam[net].step()

    def step(r1: bool, path: bool) -> None:
        real = images[torch.randint(len(images), (options.batch,))].to(device).float() / 127.5 - 1
        phase("Gmain", g, real, 1)
        if path and options.path_weight:
            phase("Greg", g, real, PATH_EVERY)
        phase("Dmain", d, real, 1)
        if r1:
            phase("Dreg", d, real, R1_EVERY)
        with torch.no_grad():
            for mean, value in zip(average.parameters(), g.parameters(), strict=True):
                mean.copy_(value.lerp(mean, 0.999))
            for mean, value in zip(average.buffers(), g.buffers(), strict=True):
                mean.copy_(value)
    return step


def work(name: str, options: argparse.Namespace, pipe: Any) -> None:
    """One of the two programs: build, then run the steps asked for and answer with their seconds."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = np.random.default_rng(0).integers(0, 256, (64, 3, options.resolution, options.resolution), np.uint8)
    step = {"figment": ours, "stylegan2-ada": theirs}[name](options, torch.from_numpy(data), device)
    while (flags := pipe.recv()) is not None:
        start = time.perf_counter()
        step(*flags)
        if device.type == "cuda":
            torch.cuda.synchronize()
        pipe.send(time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("theirs", type=Path, help="a checkout of stylegan2-ada-pytorch")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channel-base", type=int, default=16384)
    parser.add_argument("--path-weight", type=float, default=2.0)
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="figment's; theirs is fp32")
    parser.add_argument("--same-threads", action="store_true", help="let theirs wait for threads as figment does")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    # The two programs, each waiting for its turn.
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for name in ("figment", "stylegan2-ada"):
        pipes[name], end = context.Pipe()
        context.Process(target=work, args=(name, options, end), daemon=True).start()
        if not options.same_threads:
            os.environ.pop("GOMP_SPINCOUNT", None)    # set by figment for itself

    # Plain steps, steps with path length, steps with both: each kind in turns; the first round warms up.
    kinds = {"plain": (False, False), "path": (False, True), "both": (True, True)}
    times: dict[tuple[str, str], list[float]] = {}
    for round_ in range(options.rounds + 1):
        for kind, flags in kinds.items():
            for name, pipe in pipes.items():
                pipe.send(flags)
                sec = pipe.recv()
                if round_:
                    times.setdefault((name, kind), []).append(sec)
    for pipe in pipes.values():
        pipe.send(None)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{describe_device(device)}, {options.resolution}px, batch {options.batch}, "
          f"{options.precision or 'own precision'} beside fp32")
    pace = {}
    for name in pipes:
        plain, path, both = (statistics.median(times[name, kind]) for kind in kinds)
        sec = plain + (path - plain) / PATH_EVERY + (both - path) / R1_EVERY
        pace[name] = sec / options.batch * 1000
        print(f"{name:<14} {pace[name]:8.1f} s/kimg   (steps: {plain:.2f} s, {path:.2f} s with path length, "
              f"{both:.2f} s with R1 too)")
    print(f"ratio          {pace['figment'] / pace['stylegan2-ada']:.3f}")


if __name__ == "__main__":
    main()
