"""Train the start network that figment ships: 64x64 heads of DiceBear's styles, grown from 16 to 64 pixels.

    python runs/train_start.py /tmp/start --hours 1
    python runs/train_start.py /tmp/start --hours 1 --resume       # another hour

`figment make` and `figment train --init start` start from it, so a small collection trains in minutes, not days.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from figment.base.device import World
from figment.base.pixels import write_png
from figment.demo.art import PEOPLE
from figment.demo.scenes import compose
from figment.draw.grid import make_grid
from figment.nets.adapt import adapt
from figment.nets.checkpoint import Model, save
from figment.train.config import TrainConfig, resolve
from figment.train.loop import draw_fakes
from figment.train.state import State, checkpoints, load_newest, new_state, save_checkpoint
from figment.train.trainer import Trainer

SEED = 1000
"""Unlike the small seeds that people pass to demo-art."""
WIDTHS = [96, 96, 64, 32, 16]
"""Channels at 4, 8, 16, 32 and 64 pixels: more at low resolutions, fewer where each channel is expensive."""
STAGES = ((16, 0.12), (32, 0.23), (64, 0.65))
"""Resolutions, and each one's share of the training time."""


def draw_heads(count: int, cache: Path) -> np.ndarray:
    """Return `count` square heads with a margin, cropped from composed scenes: uint8 [N, 3, 64, 64]."""
    if cache.exists():
        return np.load(cache)
    rng, heads = np.random.default_rng(SEED), []
    while len(heads) < count:
        scene = compose(rng, PEOPLE, (560, 560))
        for box in scene.boxes:
            half = min(0.75 * max(box.width, box.height), 280)
            x = min(max((box.x0 + box.x1) / 2, half), 560 - half)
            y = min(max((box.y0 + box.y1) / 2, half), 560 - half)
            crop = scene.image.crop((round(x - half), round(y - half), round(x + half), round(y + half)))
            heads.append(np.asarray(crop.resize((64, 64), Image.Resampling.LANCZOS)).transpose(2, 0, 1))
    images = np.stack(heads[:count])
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.save(cache, images)
    return images


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Return uint8 [N, C, 64, 64] downscaled to [N, C, side, side] by averaging."""
    n, c, height, _ = images.shape
    cells = images.reshape(n, c, side, height // side, side, height // side)
    return np.round(cells.mean((3, 5))).astype(np.uint8)


def configure(side: int) -> TrainConfig:
    """Return the configuration of the stage at resolution `side`."""
    shared = {"family": "stylegan2", "resolution": side, "channels": 3, "widths": WIDTHS[: side.bit_length() - 2]}
    mapping = {"z_dim": 64, "w_dim": 64, "map_depth": 2}
    return resolve(
        Path("start"),
        "start",
        side,
        3,
        like=(shared | mapping, shared),
        seed=SEED,
        mixing=0.3,
        gamma=0.0003 * side**2,
        ema_kimg=2.0 if side == 64 else 0.7,
    )


def grow(state: State, small: State) -> None:
    """Copy the weights of `small` to `state`, at twice the resolution: at first its outputs are those of `small`."""
    grown, _ = adapt(Model(g_ema=small.g_ema, g=small.g, d=small.d), resolution=2 * small.g.resolution)
    for name, network in grown.networks().items():
        getattr(state, name).load_state_dict(network.state_dict())
    state.nimg, state.step = small.nimg, small.step


def train_stage(config: TrainConfig, state: State, images: np.ndarray, sec: float, out: Path) -> None:
    """Train for `sec` seconds; write a grid and a model file every 300 steps."""
    world, start = World(0, 1, torch.device("cpu")), time.monotonic()
    trainer = Trainer(config, state, torch.from_numpy(images), world, log=print)
    while time.monotonic() - start < sec:
        stats = trainer.step()
        if state.step % 300 == 0:
            figures = " ".join(f"{name} {float(value):.2f}" for name, value in stats.items())
            print(config.networks.resolution, state.nimg, figures, flush=True)
            write_model(config, state, out)
    write_model(config, state, out)


def write_model(config: TrainConfig, state: State, out: Path) -> None:
    """Write the model file, a grid of fakes and a checkpoint."""
    write_png(out / f"grid{config.networks.resolution}.png", make_grid(draw_fakes(state, 64), 8))
    model = Model(
        g_ema=state.g_ema,
        d=state.d,
        config={
            "kimg": state.nimg / 1000,
            "licence": (
                "Trained on drawings of DiceBear's styles, each under its own free licence; see `figment demo-art`."
            ),
        },
    )
    save(out / "start.safetensors", model)
    save_checkpoint(out / str(config.networks.resolution), state, keep=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for grids and start.safetensors")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--heads", type=int, default=5000)
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in OUT")
    options = parser.parse_args()

    images = draw_heads(options.heads, options.out / "heads.npy")
    # A resumed run starts from the checkpoint of the highest resolution; the remaining stages share the time.
    stages, small = list(STAGES), None
    while options.resume and len(stages) > 1 and checkpoints(options.out / str(stages[1][0])):
        del stages[0]
    for side, share in stages:
        config = configure(side)
        state = new_state(config, torch.device("cpu"))
        if small is not None:
            grow(state, small)
        elif options.resume:
            passed = load_newest(options.out / str(side), state, torch.device("cpu"))
            print(*passed, f"continuing from image {state.nimg}", sep="\n", flush=True)
        sec = options.hours * 3600 * share / sum(weight for _, weight in stages)
        train_stage(config, state, shrink(images, side), sec, options.out)
        small = state


if __name__ == "__main__":
    main()
