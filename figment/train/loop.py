"""The training loop.

    figment train heads-64.zip -o runs --kimg 200
    figment train heads-64.zip -o runs --resume
    torchrun --nproc-per-node 2 -m figment train heads-256.zip -o runs
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from figment.base.dist import World
from figment.base.durations import clock
from figment.base.errors import FigmentError
from figment.base.files import write_json, write_text
from figment.base.pixels import to_uint8, to_unit, write_png
from figment.base.progress import say
from figment.base.seeds import seeds_to_z
from figment.draw.grid import make_grid
from figment.nets.modelfile import Model, save
from figment.pack.dataset import ImageDataset
from figment.pack.sampler import EndlessSampler
from figment.train.config import TrainConfig
from figment.train.ema import ema_beta, update_ema
from figment.train.losses import discriminator_loss, generator_loss, r1_penalty
from figment.train.state import State, checkpoints, load_newest, new_state, save_checkpoint, step_randomness

W_AVG_BETA = 0.995
"""How slowly w_avg follows the mapped latents, per step (StyleGAN2-ADA)."""


class Stop:
    """Notices SIGTERM and Ctrl-C, so that the loop can end between two steps."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Stop:
        self._old = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)


def train(
    config: TrainConfig,
    run: Path,                                  # the run's folder; a run that is already in it goes on
    dataset: ImageDataset,
    world: World,
    on_tick: Callable[[State], None] = lambda state: None,
) -> bool:
    """Train until `kimg`; returns False where a signal ended it early, with a checkpoint written."""
    state = new_state(config, world.device, init=not checkpoints(run))
    _begin(config, run, state, dataset, world)
    images = torch.from_numpy(dataset.images).to(world.device)      # uint8 [N, C, H, W]
    sampler = EndlessSampler(len(dataset), config.schedule.seed, config.recipe.mirror)
    total, tick_nimg = round(config.schedule.kimg * 1000), max(round(config.schedule.tick_kimg * 1000), 1)

    with Stop() as stop:
        meter = Meter(state.nimg)
        while state.nimg < total and not stop.asked:
            meter.add(train_step(config, state, images, sampler, world))

            # A tick: statistics, a grid of fakes, a checkpoint, one line.
            crossed = state.nimg // tick_nimg > (state.nimg - config.recipe.batch) // tick_nimg
            if crossed or state.nimg >= total:
                state.history.append(meter.row(state, world))
                _publish(config, run, state, dataset, world)
                if world.is_main:
                    say(_status(state, total))
                on_tick(state)
                meter = Meter(state.nimg)
        if stop.asked and world.is_main:
            save_checkpoint(run, state, config.schedule.keep)
            say(f"stopped at {state.nimg / 1000:.1f} kimg; go on with: figment train --resume -o {run}")
        return not stop.asked


def train_step(
    config: TrainConfig,
    state: State,
    images: Tensor,            # the data, uint8 [N, C, H, W]
    sampler: EndlessSampler,
    world: World,
) -> dict[str, Tensor]:
    """One step of D, then of G, then of the average; returns the step's statistics as scalars on the device."""
    recipe, device = config.recipe, world.device
    noise = "random" if recipe.noise else "none"
    share = slice(world.rank * recipe.batch // world.size, (world.rank + 1) * recipe.batch // world.size)
    randomness = step_randomness(config.schedule.seed, state.step)
    torch.manual_seed(step_randomness(config.schedule.seed, state.step, 1 + world.rank).initial_seed())

    # The showings of this step: every rank draws the whole batch and takes its share.
    indices, flips = sampler.take(state.nimg, recipe.batch)
    real = images[torch.from_numpy(indices[share]).to(device)]
    flip = torch.from_numpy(flips[share]).to(device)
    real = to_unit(torch.where(flip[:, None, None, None], real.flip(3), real))

    # D: fakes against reals, and every r1_interval steps the gradient penalty, weighted for the steps it skips.
    state.d.requires_grad_(True)
    with torch.no_grad():
        fake = state.g.synthesis(_styles(config, state, randomness, share, device), noise=noise)
    penalise = bool(recipe.gamma) and state.step % recipe.r1_interval == 0
    real.requires_grad_(penalise)
    real_logits, fake_logits = state.d(real), state.d(fake)
    loss_d = discriminator_loss(real_logits, fake_logits)
    stats = {"loss_d": loss_d.detach(), "sign_real": real_logits.detach().sign().mean(),
             "sign_fake": fake_logits.detach().sign().mean()}
    if penalise:
        penalty = r1_penalty(real, real_logits).mean()
        loss_d = loss_d + penalty * (recipe.gamma / 2 * recipe.r1_interval)
        stats["r1"] = penalty.detach()
    _update(loss_d, state.d_opt, state.d, world)

    # G: fresh fakes that D should take for real.
    state.d.requires_grad_(False)
    styles = _styles(config, state, randomness, share, device)
    loss_g = generator_loss(state.d(state.g.synthesis(styles, noise=noise)))
    stats["loss_g"] = loss_g.detach()
    _update(loss_g, state.g_opt, state.g, world)
    state.g.w_avg.lerp_(world.mean(styles.detach()[:, 0].mean(0)), 1 - W_AVG_BETA)

    state.nimg += recipe.batch
    state.step += 1
    update_ema(state.g_ema, state.g, ema_beta(state.nimg, recipe.batch, recipe.ema_kimg))
    return stats


def _styles(
    config: TrainConfig,
    state: State,
    randomness: torch.Generator,
    share: slice,              # this rank's part of the batch
    device: torch.device,
) -> Tensor:
    """Mapped latents with style mixing (Karras 2019, 3.1): [n, L, D], layers from a random cutoff on of a second z."""
    batch, recipe = config.recipe.batch, config.recipe
    z = torch.randn(2, batch, state.g.z_dim, generator=randomness)[:, share].to(device)      # [2, n, Z]
    cutoff = torch.randint(1, max(state.g.num_layers, 2), (batch,), generator=randomness)
    mixed = torch.rand(batch, generator=randomness) < recipe.mixing
    cutoff = torch.where(mixed, cutoff, state.g.num_layers)[share].to(device)                # [n]
    first: Tensor = state.g.mapping(z[0])                                                    # [n, L, D]
    if recipe.mixing == 0 or state.g.num_layers == 1:
        return first
    second = state.g.mapping(z[1])
    layer = torch.arange(state.g.num_layers, device=device)
    return torch.where((layer[None, :] >= cutoff[:, None])[:, :, None], second, first)


def _update(loss: Tensor, optimizer: torch.optim.Optimizer, network: torch.nn.Module, world: World) -> None:
    """Backpropagate, average over ranks, step."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    world.average_gradients(network.parameters())
    optimizer.step()


class Meter:
    """Sums of a tick's statistics, kept on the device until the tick ends."""

    def __init__(self, nimg: int) -> None:
        self.start, self.first = time.perf_counter(), nimg
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, stats: dict[str, Tensor]) -> None:
        for name, value in stats.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def row(self, state: State, world: World) -> dict[str, float]:
        """The tick's line of stats.jsonl: means over the tick and over all ranks."""
        means = {name: float(world.mean(total / self.counts[name])) for name, total in sorted(self.sums.items())}
        kimg, sec = (state.nimg - self.first) / 1000, time.perf_counter() - self.start
        before = state.history[-1]["sec"] if state.history else 0.0
        return {"tick": len(state.history), "kimg": state.nimg / 1000, "sec": round(before + sec, 3),
                "sec_per_kimg": round(sec / kimg, 3), **means}


# ---------------------------------------------------------------------- what a run writes


def _begin(config: TrainConfig, run: Path, state: State, dataset: ImageDataset, world: World) -> None:
    """Go on from the run's newest checkpoint, or write its configuration and the grids to compare with."""
    for line in load_newest(run, state, world.device):
        say(line)
    if config.digest != dataset.digest:
        raise FigmentError(f"DATA {dataset.path}: not the pictures that {run} was started with")
    if not world.is_main:
        return
    for line in dataset.damaged:
        say(f"left out: {line}")
    write_json(run / "config.json", config.to_json())
    columns = _grid_columns(dataset.resolution)
    write_png(run / "reals.png", make_grid(dataset.images[: columns**2], columns))
    _publish(config, run, state, dataset, world)


def _publish(config: TrainConfig, run: Path, state: State, dataset: ImageDataset, world: World) -> None:
    """Write the grid of fakes, the checkpoint, the model file and the statistics of this tick (rank 0)."""
    if not world.is_main:
        return
    columns = _grid_columns(dataset.resolution)
    write_png(run / "fakes" / f"img{state.nimg:09d}.png", make_grid(draw_fakes(state, columns**2), columns))
    save_checkpoint(run, state, config.schedule.keep)
    data = {"name": dataset.name, "pictures": len(dataset), "digest": dataset.digest}
    save(run / "model.safetensors", Model(
        g_ema=state.g_ema, g=None, d=state.d, origin="figment",
        config={"data": data, "kimg": state.nimg / 1000}))
    write_text(run / "stats.jsonl", "".join(json.dumps(row) + "\n" for row in state.history))


@torch.no_grad()
def draw_fakes(state: State, count: int) -> np.ndarray:
    """The average generator's pictures of seeds 0 to `count`: uint8 [N, C, H, W]."""
    z = torch.from_numpy(seeds_to_z(list(range(count)), state.g_ema.z_dim)).float()
    device = next(state.g_ema.parameters()).device
    images = [to_uint8(state.g_ema.synthesis(state.g_ema.mapping(part.to(device)), noise="const")).cpu()
              for part in z.split(8)]
    return torch.cat(images).numpy()


def _grid_columns(resolution: int) -> int:
    """Columns of the grid of fakes: as many as fit 1024 pixels, 4 to 10."""
    return min(max(1024 // resolution, 4), 10)


def _status(state: State, total: int) -> str:
    """One line for people."""
    row = state.history[-1]
    left = (total - state.nimg) / 1000 * row["sec_per_kimg"]
    return (f"tick {row['tick']:<4.0f} kimg {row['kimg']:>8.1f} / {total / 1000:g}   {row['sec_per_kimg']:6.2f} s/kimg"
            f"   left {clock(left)}   G {row['loss_g']:.2f}   D {row['loss_d']:.2f}   D(real) {row['sign_real']:+.2f}")
