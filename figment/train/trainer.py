"""One step of training: D, then G, then the average. The same on one GPU or many, whole or in micro-batches.

trainer = Trainer(config, new_state(config, world.device), images, world)
stats = trainer.step()              # {"loss_d": ..., "loss_g": ..., ...}, scalars on the device
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from figment.base.device import World
from figment.base.pixels import to_unit
from figment.nets.base import Discriminator
from figment.nets.noise import SharedNoise, random_maps
from figment.pack.readahead import ReadAhead
from figment.pack.sampler import EndlessSampler
from figment.train.augment import AdaController, Augment, Draws
from figment.train.config import TrainConfig
from figment.train.execution import Executor, Index, Inputs, Log, Part, Stats, logger
from figment.train.losses import OBJECTIVES
from figment.train.phases import Compute, DPhase, GPhase, Noise, Players, precision_of
from figment.train.schedule import Due, Moment, due_regularizers, fade_reals, layers_changed, schedule_at
from figment.train.state import State, step_randomness

READ_AHEAD_BATCHES = 3
"""Batches that are read ahead if the data don't fit into memory."""

STREAMS = {"real": 1 << 20, "fake": 2 << 20, "g": 3 << 20, "path": 4 << 20, "noise": 5 << 20}
"""Streams of a step's random numbers; the latents' stream is 0."""


@dataclass(frozen=True)
class Latents:
    """Latents of a batch of fakes: this rank's samples, on its device."""

    z: Tensor
    """[2, n, Z]: the latents, and those mixed in."""
    cutoff: Tensor
    """int64 [n]: first layer of the second latent."""


class Trainer:
    """Takes training steps: moves the state's networks by the configuration's recipe."""

    def __init__(
        self,
        config: TrainConfig,
        state: State,
        images: Tensor | ReadAhead,  # the data, uint8 [N, C, H, W]
        world: World,
        log: Log = logger.warning,  # takes one line when memory runs out or CUDA graphs fail
    ) -> None:
        self.config, self.state, self.images, self.world = config, state, images, world
        recipe = config.recipe
        self.sampler = EndlessSampler(len(images), config.schedule.seed, recipe.mirror)
        self.executor = Executor(capture=not config.schedule.growing, log=log)
        augment = None
        if recipe.augment == "ada":
            augment = Augment(config.networks.channels, recipe.augment_kinds).to(world.device)
        self.players = Players(
            state.g,
            state.d,
            Compute(world.device, precision_of(recipe)),
            recipe.mixing > 0,
            augment,
            blur_reach=math.floor(3 * recipe.blur_sigma),
        )
        self.controller = AdaController(target=recipe.ada_target, kimg=recipe.ada_kimg)

    @property
    def now(self) -> Moment:
        """What holds for the next step."""
        return schedule_at(self.config, self.state.nimg, self.world.size)

    @property
    def due(self) -> Due:
        """The regularizers that the next step includes."""
        return due_regularizers(self.config.recipe, self.state.step)

    def step(self) -> Stats:
        """Take one step of D, then of G, then of the average; return the step's statistics, scalars on the device."""
        state, now = self.state, self.now
        self._set_pace(now)

        # Every rank draws the whole batch and takes its share, so the result does not depend on the number of ranks.
        randomness = step_randomness(self.config.schedule.seed, state.step)
        latents_d = self.sample_latents(randomness)
        latents_g = self.sample_latents(randomness)
        stats = self.d_phase(self.next_reals(), latents_d) | self.g_phase(latents_g)

        state.nimg += now.minibatch
        state.step += 1
        beta = ema_beta(state.nimg, now.minibatch, self.config.recipe.ema_kimg, state.g.family.ema_rampup)
        update_ema(state.g_ema, state.g, beta)
        return stats

    def sample_latents(self, randomness: torch.Generator) -> Latents:
        """Draw latents with style mixing (Karras et al. 2018, arXiv 1812.04948, section 3.1)."""
        batch, g = self.now.minibatch, self.state.g
        z = torch.randn(2, batch, g.z_dim, generator=randomness)
        cutoff = torch.randint(1, max(g.num_layers, 2), (batch,), generator=randomness)
        mixed = torch.rand(batch, generator=randomness) < self.config.recipe.mixing
        cutoff = torch.where(mixed, cutoff, g.num_layers)
        local, to_device = self.world.local, self.world.to_device
        return Latents(to_device(z[:, local]), to_device(cutoff[local]))

    def next_reals(self) -> Tensor:
        """Return this rank's next real images as the networks can draw them now: [n, C, H, W] in [-1, 1]."""
        images, world, nimg, now = self.images, self.world, self.state.nimg, self.now
        indices, flips = self.sampler.take(nimg, now.minibatch)
        rows = torch.from_numpy(indices[world.local])
        real = world.to_device(images[rows if images.device.type == "cpu" else world.to_device(rows)])
        if isinstance(images, ReadAhead):
            ahead = self.sampler.take(nimg + now.minibatch, READ_AHEAD_BATCHES * now.minibatch)[0]
            images.expect(ahead[world.local])
        flip = world.to_device(torch.from_numpy(flips[world.local]))
        real = to_unit(torch.where(flip[:, None, None, None], real.flip(3), real))
        return fade_reals(real, now.lod) if now.lod else real

    def d_phase(
        self,
        reals: Tensor,  # [n, C, H, W], see next_reals
        latents: Latents,
    ) -> Stats:
        """Update D on reals and fakes, and the strength of the augmentation; return statistics."""
        recipe, state, world, due = self.config.recipe, self.state, self.world, self.due
        wasserstein = recipe.loss == "wgan-gp"
        inputs: Inputs = {
            "reals": reals,
            "z": latents.z,
            "cutoff": latents.cutoff,
            "noise": self._sample_noise(0),
            "blur": self._blur(),
            "augment_real": self.draw_augmentation("real"),
            "augment_fake": self.draw_augmentation("fake"),
        }
        if wasserstein:
            positions = torch.rand(self.now.minibatch, generator=self._randomness("path"))[world.local]
            inputs["positions"] = world.to_device(positions)
        phase = DPhase(
            self.players,
            OBJECTIVES[recipe.loss],
            r1_weight=recipe.gamma / 2 * recipe.r1_interval if due.r1 else 0.0,
            gp_weight=recipe.gamma if wasserstein else 0.0,
        )

        state.d.start_step()
        train_layers(state.d, recipe.freeze_d)
        name = ("D with R1" if due.r1 else "D") + self._blurred
        stats = self._run(Part(name, phase, inputs, state.d, *self._batch()))
        world.average_gradients(state.d.parameters())
        state.d_opt.step()
        if "observed" in stats:
            state.g.update_observed(world.mean(stats.pop("observed")), self.now.minibatch)
        if state.ada is not None:
            state.ada = self.controller.observe(state.ada, stats["sign_real"], self.now.minibatch // world.size)
            state.ada = self.controller.adjust(state.ada, state.step, self.now.minibatch, world.mean)
            stats["ada_p"] = state.ada.p
        return stats

    def g_phase(self, latents: Latents) -> Stats:
        """Update G and its w_avg; return statistics."""
        recipe, state, world, due = self.config.recipe, self.state, self.world, self.due
        inputs: Inputs = {
            "z": latents.z,
            "cutoff": latents.cutoff,
            "noise": self._sample_noise(1),
            "blur": self._blur(),
            "augment_fake": self.draw_augmentation("g"),
        }
        if due.path_length:
            shape = (self.now.minibatch, state.g.channels, *state.g.size)
            directions = torch.randn(shape, generator=self._randomness("path", 1, world.device), device=world.device)
            inputs |= {
                "directions": directions[world.local],
                "path_noise": self._sample_noise(2),
                "path_mean": state.path_mean,
            }
        path_weight = recipe.path_weight if due.path_length else 0.0
        phase = GPhase(self.players, OBJECTIVES[recipe.loss], path_weight)

        state.d.requires_grad_(False)
        name = ("G with path length" if due.path_length else "G") + self._blurred
        stats = self._run(Part(name, phase, inputs, state.g, *self._batch()))
        world.average_gradients(state.g.parameters())
        state.g_opt.step()
        if due.path_length:
            state.path_mean = world.mean(stats.pop("path_mean"))
        w_mean = world.mean(stats.pop("w_mean"))
        state.g.update_w_avg(w_mean)
        return stats

    def draw_augmentation(
        self,
        stream: str,  # "real", "fake" or "g"
    ) -> Draws | None:
        """Draw the random numbers of this rank's augmentation, on its device; None for no augmentation."""
        augment, world = self.players.augment, self.world
        if augment is None:
            return None
        draws = augment.draw(self._randomness(stream), self.now.minibatch)
        draws = Draws(*(part[world.local] for part in draws))
        # The seeds of the noise corruption stay on the CPU, where their generators are.
        seeds = draws.seeds if "noise" in augment.active else world.to_device(draws.seeds)
        gates, uniform, normal = (world.to_device(numbers) for numbers in draws[:3])
        return Draws(gates, uniform, normal, seeds)

    @property
    def _blurred(self) -> str:
        """How the names of this step's parts end: one kernel of 0 pixels is no blur."""
        return " of blurred images" if 3 * self.now.blur >= 1 else ""

    def _blur(self) -> Tensor | None:
        """Return this step's blur, []; None for none."""
        return torch.tensor(self.now.blur, device=self.world.device) if self._blurred else None

    def _set_pace(self, now: Moment) -> None:
        """Set level of detail, learning rates and p of this step; reset both optimizers when the layers change."""
        state = self.state
        if self.config.schedule.growing:
            if state.lod is not None and layers_changed(state.lod, now.lod):
                state.g_opt.state.clear()
                state.d_opt.state.clear()
            state.lod = now.lod
            for network in (state.g, state.d, state.g_ema):
                network.lod = now.lod
        for optimizer, factor in ((state.g_opt, 1.0), (state.d_opt, self.config.recipe.d_lr)):
            for group in optimizer.param_groups:
                group["lr"] = now.lr * state.lr_scale * factor

    def _sample_noise(
        self,
        number: int,  # of the step's three generator passes, from 0
    ) -> Noise:
        """Return the noise of one generator pass; None if noise is off.

        On a GPU it is drawn here, because CUDA graphs can't draw it.
        """
        world, g, batch = self.world, self.state.g, self.now.minibatch
        if not self.config.recipe.noise:
            return None
        seed, step = self.config.schedule.seed, self.state.step
        rows = torch.arange(batch, device=world.device)[world.local]

        def shared(index: Index) -> SharedNoise:
            randomness = step_randomness(seed, step, STREAMS["noise"] + number, world.device)
            return SharedNoise(randomness, batch, rows[index])

        shapes = g.noise_shapes()
        if world.device.type == "cpu" or shapes is None:
            return shared
        source = shared(slice(None))
        return [random_maps((len(rows), 1, *shape), g.w_avg, source) for shape in shapes]

    def _randomness(self, stream: str, number: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
        """Return the generator of one of this step's streams."""
        return step_randomness(self.config.schedule.seed, self.state.step, STREAMS[stream] + number, device)

    def _batch(self) -> tuple[int, int]:
        """Return this rank's samples per step, and the group of the minibatch stddev."""
        return self.now.minibatch // self.world.size, self.state.d.minibatch_group

    def _run(self, part: Part) -> Stats:
        """Compute the gradients of a part."""
        if self.players.augment is not None and self.state.ada is not None:
            self.players.augment.p.copy_(self.state.ada.p)
        with self.players.compute.step():
            return self.executor.run(part, self.state.micro)


def train_layers(
    d: Discriminator,
    frozen: int,  # layers that stay as they are, counted from the image on
) -> None:
    """Let D learn except for its first `frozen` layers (FreezeD, Mo et al. 2020, arXiv 2002.10964)."""
    d.requires_grad_(True)
    for layer in d.freeze_order()[:frozen]:
        layer.requires_grad_(False)


# --- Moving average of the generator's weights


def ema_beta(
    nimg: int,  # images shown so far
    batch: int,  # images per step
    ema_kimg: float,  # half-life in thousands of images
    rampup: float | None,  # limit of the half-life as a share of `nimg`; None for no limit
) -> float:
    """Return the weight of the old average in one step: 0.5 ** (batch / half-life), as in StyleGAN2-ADA."""
    half_life = ema_kimg * 1000
    if rampup is not None:
        half_life = min(half_life, nimg * rampup)
    beta: float = 0.5 ** (batch / max(half_life, 1e-8))
    return beta


@torch.no_grad()
def update_ema(average: nn.Module, source: nn.Module, beta: float) -> None:
    """Move `average` towards `source`: parameters by 1 - beta; buffers (w_avg, noise) are copied."""
    old: list[Tensor] = list(average.parameters())
    new: list[Tensor] = list(source.parameters())
    torch._foreach_lerp_(old, new, 1 - beta)
    for mine, theirs in zip(average.buffers(), source.buffers(), strict=True):
        mine.copy_(theirs)
