"""One step of training: D, then G, then the average; the same on one GPU or many, whole or in micro-batches."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from figment.base.device import World
from figment.base.pixels import to_unit
from figment.base.progress import say
from figment.nets.noise import DrawnNoise, Randomness, SharedNoise, random_maps
from figment.nets.ops import Backend, use_backend
from figment.nets.registry import get_family
from figment.pack.readahead import ReadAhead
from figment.pack.sampler import EndlessSampler
from figment.train import losses
from figment.train.augment import AdaController, Augment, Draws
from figment.train.config import Recipe, TrainConfig
from figment.train.ema import ema_beta, update_ema
from figment.train.graphs import Inputs
from figment.train.growth import Growth, fade_reals, growth_at, new_layer
from figment.train.memory import Index, MicroBatches
from figment.train.state import State, step_randomness

AHEAD = 3
"""Batches that are read ahead where the data don't fit into the memory."""
W_AVG_BETA = 0.995
"""How slowly w_avg follows the mapped latents, per step (StyleGAN2-ADA)."""

FLOAT32 = Backend(channels_last=True, winograd=True)
"""How a step computes in float32, without fused layers."""

STREAMS = {"real": 1 << 20, "fake": 2 << 20, "g": 3 << 20, "path": 4 << 20, "noise": 5 << 20}
"""Streams of a step's random numbers besides the latents', which is 0."""


def moment(
    config: TrainConfig,
    nimg: int,  # images shown so far
    gpus: int = 1,
) -> Growth:
    """What holds now: batch, learning rate and tick of the recipe, or of the growing schedule where those are 0."""
    recipe, schedule, resolution = config.recipe, config.schedule, config.networks.resolution
    if not schedule.growing:
        return Growth(0.0, resolution, recipe.batch, recipe.lr, schedule.tick_kimg, "stabilise")
    growth = get_family(config.networks.family).growth
    assert growth is not None
    now = growth_at(nimg / 1000, resolution, growth(gpus))
    return Growth(
        now.lod,
        now.resolution,
        recipe.batch or now.minibatch,
        recipe.lr or now.lr,
        schedule.tick_kimg or now.tick_kimg,
        now.phase,
    )


def lazy_parts(recipe: Recipe, step: int) -> tuple[bool, bool]:
    """Whether a step carries R1, and whether it carries path length."""
    penalise = bool(recipe.gamma) and recipe.loss != "wgan-gp" and step % recipe.r1_interval == 0
    return penalise, bool(recipe.path_weight) and step % losses.PATH_INTERVAL == 0


def step_kinds(recipe: Recipe) -> dict[tuple[bool, bool], tuple[int, float]]:
    """By `lazy_parts`: the number of such a step, and the share of all steps that are of this kind."""
    cycle = math.lcm(recipe.r1_interval, losses.PATH_INTERVAL)
    steps = [(lazy_parts(recipe, step), step) for step in range(cycle)]
    counts = Counter(kind for kind, _ in steps)
    return {kind: (step, counts[kind] / cycle) for kind, step in steps}


@dataclass(frozen=True)
class Latents:
    """What a batch of fakes is made of, for this rank and on its device."""

    z: Tensor
    """[2, n, Z]: the latents and those mixed in."""
    cutoff: Tensor
    """int64 [n]: the first layer of the second latent."""


def train_step(
    config: TrainConfig,
    state: State,
    images: Tensor | ReadAhead,  # the data, uint8 [N, C, H, W]
    sampler: EndlessSampler,
    world: World,
) -> dict[str, Tensor]:
    """One step of D, then of G, then of the average; returns the step's statistics as scalars on the device."""
    recipe = config.recipe
    now = moment(config, state.nimg, world.size)
    _set_pace(config, state, now)

    # Every rank draws the whole batch and takes every so many samples, which keeps the minibatch deviation's groups.
    randomness = step_randomness(config.schedule.seed, state.step)
    latents_d = _draw_latents(config, state, randomness, now.minibatch, world)
    latents_g = _draw_latents(config, state, randomness, now.minibatch, world)

    reals = _take_reals(state, images, sampler, now, world)
    with _quick_products(world.device):
        stats = _step_d(config, state, now, reals, latents_d, world)
        stats |= _step_g(config, state, now, latents_g, world)

    state.nimg += now.minibatch
    state.step += 1
    rampup = state.g.family.ema_rampup or math.inf
    update_ema(state.g_ema, state.g, ema_beta(state.nimg, now.minibatch, recipe.ema_kimg, rampup))
    return stats


def _set_pace(config: TrainConfig, state: State, now: Growth) -> None:
    """Level of detail and learning rates of this step; both optimizers forget their moments where layers appear."""
    if config.schedule.growing:
        if state.lod is not None and new_layer(state.lod, now.lod):
            state.g_opt.state.clear()
            state.d_opt.state.clear()
        state.lod = now.lod
        for network in (state.g, state.d, state.g_ema):
            network.lod = now.lod
    for optimizer in (state.g_opt, state.d_opt):
        for group in optimizer.param_groups:
            group["lr"] = now.lr * state.lr_scale


def _draw_latents(
    config: TrainConfig,
    state: State,
    randomness: torch.Generator,
    batch: int,  # over all ranks
    world: World,
) -> Latents:
    """Latents with style mixing (Karras 2019, 3.1): from a random layer on, a second z counts."""
    z = torch.randn(2, batch, state.g.z_dim, generator=randomness)
    cutoff = torch.randint(1, max(state.g.num_layers, 2), (batch,), generator=randomness)
    mixed = torch.rand(batch, generator=randomness) < config.recipe.mixing
    cutoff = torch.where(mixed, cutoff, state.g.num_layers)
    return Latents(world.put(z[:, world.share]), world.put(cutoff[world.share]))


def _styles(config: TrainConfig, state: State, inputs: Inputs, index: Index) -> Tensor:
    """The mapped latents of some samples, [n, L, D]."""
    z = inputs["z"][:, index]
    first: Tensor = state.g.mapping(z[0])
    if config.recipe.mixing == 0 or state.g.num_layers == 1:
        return first
    layer = torch.arange(state.g.num_layers, device=z.device)
    second = layer[None, :] >= inputs["cutoff"][index][:, None]  # [n, L]
    return torch.where(second[:, :, None], state.g.mapping(z[1]), first)


def _take_reals(state: State, images: Tensor | ReadAhead, sampler: EndlessSampler, now: Growth, world: World) -> Tensor:
    """This rank's share of the next showings, as the networks can draw them now: [n, C, H, W] in [-1, 1]."""
    indices, flips = sampler.take(state.nimg, now.minibatch)
    rows = torch.from_numpy(indices[world.share])
    real = world.put(images[rows if images.device.type == "cpu" else world.put(rows)])
    if isinstance(images, ReadAhead):
        images.expect(sampler.take(state.nimg + now.minibatch, AHEAD * now.minibatch)[0][world.share])
    flip = world.put(torch.from_numpy(flips[world.share]))
    real = to_unit(torch.where(flip[:, None, None, None], real.flip(3), real))
    return fade_reals(real, now.lod) if now.lod else real


# ---------------------------------------------------------------------- the discriminator


def _step_d(
    config: TrainConfig, state: State, now: Growth, reals: Tensor, latents: Latents, world: World
) -> dict[str, Tensor]:
    """Fakes against reals; the gradient penalty every r1_interval steps, weighted for the steps it skips."""
    recipe, device = config.recipe, world.device
    critic = recipe.loss == "wgan-gp"
    penalise, _ = lazy_parts(recipe, state.step)
    augment = _augmentation(config, state, world)
    inputs = {
        "reals": reals,
        "z": latents.z,
        "cutoff": latents.cutoff,
        "noise": _noise(config, state, 0, now, world),
        "see_real": _draws(config, state, "real", now.minibatch, world),
        "see_fake": _draws(config, state, "fake", now.minibatch, world),
    }
    if critic:
        places = torch.rand(now.minibatch, generator=_stream(config, state, "path"))[world.share]
        inputs["places"] = world.put(places)

    def closure(inputs: Inputs, index: Index, part: float) -> dict[str, Tensor]:
        with torch.no_grad(), _fast(config, device):
            styles = _styles(config, state, inputs, index)
            fake = _draw(state, styles, inputs["noise"], index)
            seen = augment(fake, inputs["see_fake"], index)
        real = inputs["reals"][index].detach().requires_grad_(penalise)
        if penalise:
            with use_backend(replace(FLOAT32, fused=True, double_backward=True), device.type):
                real_logits = state.d(augment(real, inputs["see_real"], index)).float()
            with _fast(config, device):
                fake_logits = state.d(seen).float()
        else:
            with _fast(config, device):
                real_logits, fake_logits = losses.judge_both(state.d, augment(real, inputs["see_real"], index), seen)
        loss = (losses.critic_loss if critic else losses.discriminator_loss)(real_logits, fake_logits)
        stats = {"loss_d": loss, "sign_real": real_logits.sign().mean(), "sign_fake": fake_logits.sign().mean()}
        if penalise:
            penalty = losses.r1_penalty(real, real_logits).mean()
            loss = loss + penalty * (recipe.gamma / 2 * recipe.r1_interval)
            stats["r1"] = penalty
        if critic and recipe.gamma:
            penalty = losses.gradient_penalty(state.d, real, fake, inputs["places"][index], recipe.gamma).mean()
            loss = loss + penalty
            stats["gradient_penalty"] = penalty
        (loss * part).backward()
        return stats

    _thaw(state.d, recipe.freeze_d)
    stats = _run("D with R1" if penalise else "D", config, state, now, world, closure, inputs, state.d, state.d_opt)
    _update(state.d_opt, state.d, world)

    # How sure D is of the reals decides how strongly the next steps augment.
    if state.ada is not None:
        controller = AdaController(target=recipe.ada_target, kimg=recipe.ada_kimg)
        state.ada = controller.observe(state.ada, stats["sign_real"], now.minibatch // world.size)
        state.ada = controller.adjust(state.ada, state.step, now.minibatch, world.mean)
        stats["ada_p"] = state.ada.p
    return stats


def _thaw(d: Any, frozen: int) -> None:
    """Let D learn, but for its first `frozen` layers from the picture on (Mo et al. 2020)."""
    d.requires_grad_(True)
    for layer in d.freeze_order()[:frozen]:
        layer.requires_grad_(False)


# ---------------------------------------------------------------------- the generator


def _step_g(config: TrainConfig, state: State, now: Growth, latents: Latents, world: World) -> dict[str, Tensor]:
    """Fresh fakes that D should take for real; path length every few steps on half of the batch."""
    recipe, device = config.recipe, world.device
    _, look = lazy_parts(recipe, state.step)
    augment = _augmentation(config, state, world)
    inputs = {
        "z": latents.z,
        "cutoff": latents.cutoff,
        "noise": _noise(config, state, 1, now, world),
        "see": _draws(config, state, "g", now.minibatch, world),
    }
    if look:
        shape = (now.minibatch, state.g.channels, *state.g.size)
        directions = torch.randn(shape, generator=_stream(config, state, "path", 1, device), device=device)
        inputs |= {
            "directions": directions[world.share],
            "path_noise": _noise(config, state, 2, now, world),
            "path_mean": state.path_mean,
        }

    def closure(inputs: Inputs, index: Index, part: float) -> dict[str, Tensor]:
        with _fast(config, device):
            styles = _styles(config, state, inputs, index)
            logits = state.d(augment(_draw(state, styles, inputs["noise"], index), inputs["see"], index)).float()
        loss = (losses.critic_generator_loss if recipe.loss == "wgan-gp" else losses.generator_loss)(logits)
        (loss * part).backward()
        stats = {"loss_g": loss, "w_mean": styles.detach()[:, 0].mean(0)}
        if look:
            with _fast(config, device, twice=True):
                styles = _styles(config, state, inputs, index)
                styles = styles[: max(len(styles) // losses.PATH_SHRINK, 1)].clone()
                pictures = _draw(state, styles, inputs["path_noise"], index)
            direction = inputs["directions"][index][: len(styles)]
            path = losses.path_length(pictures, styles, inputs["path_mean"], direction, recipe.path_weight, lagged=True)
            (path.penalty * (losses.PATH_INTERVAL * part)).backward()
            stats |= {"path_length": path.lengths.mean(), "path_mean": path.mean}
        return stats

    state.d.requires_grad_(False)
    stats = _run(
        "G with path length" if look else "G", config, state, now, world, closure, inputs, state.g, state.g_opt
    )
    _update(state.g_opt, state.g, world)
    if look:
        state.path_mean = world.mean(stats.pop("path_mean"))
    w_mean = world.mean(stats.pop("w_mean"))
    state.g.w_avg.lerp_(w_mean.to(state.g.w_avg.dtype), 1 - W_AVG_BETA)
    return stats


# ---------------------------------------------------------------------- what both share


def _run(
    part: str,  # of the step: parts need different memory
    config: TrainConfig,
    state: State,
    now: Growth,
    world: World,
    closure: Callable[[Inputs, Index, float], dict[str, Tensor]],
    inputs: Inputs,  # what the closure takes
    network: torch.nn.Module,  # what learns
    optimizer: torch.optim.Optimizer,
) -> dict[str, Tensor]:
    """Gradients and statistics of this rank's batch, in as few micro-batches as the memory allows."""
    group = state.d.minibatch_group
    known = state.micro.get(part)
    batches = MicroBatches(now.minibatch // world.size, group, known, lambda line: say(f"{part}: {line}"))

    def plainly() -> dict[str, Tensor]:
        stats = batches.run(functools.partial(closure, inputs), lambda: optimizer.zero_grad(set_to_none=True))
        if batches.size < batches.batch:
            state.micro[part] = batches.size
        return stats

    with use_backend(FLOAT32, world.device.type):
        if known or config.schedule.growing:
            return plainly()
        return state.graphs.run(part, lambda inputs: closure(inputs, slice(None), 1.0), inputs, network, plainly)


def _update(optimizer: torch.optim.Optimizer, network: torch.nn.Module, world: World) -> None:
    """Average the gradients over ranks and step."""
    world.average_gradients(network.parameters())
    optimizer.step()


@contextmanager
def _quick_products(device: torch.device) -> Iterator[None]:
    """Inside, a GPU multiplies float32 matrices in TensorFloat-32, as cuDNN convolves them by itself."""
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _fast(config: TrainConfig, device: torch.device, twice: bool = False) -> Iterator[None]:
    """Run convolutions in bfloat16 if the recipe says so, and fused layers on a GPU."""
    precision = torch.bfloat16 if config.recipe.precision == "bf16" else torch.float32
    with use_backend(replace(FLOAT32, precision=precision, fused=True, double_backward=twice), device.type):
        yield


def _stream(
    config: TrainConfig, state: State, name: str, more: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    return step_randomness(config.schedule.seed, state.step, STREAMS[name] + more, device)


def _noise(config: TrainConfig, state: State, look: int, now: Growth, world: World) -> Any:
    """G's noise in the step's first, second or third look at it: None for none, else something for `_draw`.

    On a GPU that is a map [n, 1, H, W] for every layer, drawn here as graphs can't; growing layers draw themselves.
    """
    if not config.recipe.noise:
        return None
    rows = torch.arange(now.minibatch, device=world.device)[world.share]

    def shared(index: Index) -> SharedNoise:
        return SharedNoise(_stream(config, state, "noise", look, world.device), now.minibatch, rows[index])

    shapes = state.g.noise_shapes()
    if world.device.type == "cpu" or shapes is None:
        return shared
    source = shared(slice(None))
    return [random_maps((len(rows), 1, *shape), state.g.w_avg, source) for shape in shapes]


def _draw(state: State, styles: Tensor, noise: Any, index: Index) -> Tensor:
    """G's pictures of some samples' styles [n, L, D], with the noise of `_noise`."""
    source: Randomness = None
    if isinstance(noise, list):
        source = DrawnNoise([own[index][: len(styles)] for own in noise])
    elif noise is not None:
        source = noise(index)
    drawn: Tensor = state.g.synthesis(styles, noise="none" if noise is None else "random", generator=source)
    return drawn


def _augmentation(config: TrainConfig, state: State, world: World) -> Callable[[Tensor, Draws | None, Index], Tensor]:
    """How D sees pictures in this step: a function of pictures, `_draws`, and which samples of this rank they are."""
    if state.ada is None:
        return lambda images, draws, index: images
    augment = _augment(config.networks.channels, config.recipe.augment_kinds, str(world.device))
    augment.p.copy_(state.ada.p)
    return lambda images, draws, index: augment.apply_draws(images, Draws(*(part[index] for part in draws or ())))


def _draws(config: TrainConfig, state: State, name: str, batch: int, world: World) -> Draws | None:
    """The random numbers of this rank's augmentation, None for none; on the device but for the noise's seeds."""
    if state.ada is None:
        return None
    augment = _augment(config.networks.channels, config.recipe.augment_kinds, str(world.device))
    draws = augment.draw(_stream(config, state, name), batch)
    mine = Draws(*(part[world.share] for part in draws))
    put = mine._replace(gates=world.put(mine.gates), uniform=world.put(mine.uniform), normal=world.put(mine.normal))
    return put if "noise" in augment.active else put._replace(seeds=world.put(mine.seeds))


@functools.lru_cache(maxsize=4)
def _augment(channels: int, kinds: str, device: str) -> Augment:
    return Augment(channels, kinds).to(device)
