"""The maths of a training step: the discriminator's phase and the generator's, with plain arguments.

phase = DPhase(players, OBJECTIVES["logistic"], r1_weight=80.0)
stats = phase({"reals": reals, "z": z, "cutoff": cutoff, ...}, slice(None), 1.0)   # gradients are in d's parameters
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from figment.nets.base import Discriminator, Generator
from figment.nets.layers import stddev_group
from figment.nets.noise import DrawnNoise, Randomness, SharedNoise
from figment.nets.ops import Backend, full_precision, use_backend
from figment.train import losses
from figment.train.augment import Augment, Draws
from figment.train.config import Recipe
from figment.train.execution import Index, Inputs, Stats
from figment.train.losses import OBJECTIVES, Objective, mean_over_scales
from figment.train.schedule import PATH_INTERVAL

PATH_BATCH_FRACTION = 2
"""The path length penalty is computed on 1/2 of the batch (Karras et al. 2019, arXiv 1912.04958, appendix B)."""

FLOAT32 = Backend(channels_last=True, winograd=True)
"""How a step computes in float32, without fused layers."""

Noise = list[Tensor] | Callable[[Index], SharedNoise] | None
"""Noise of one generator pass: a map [n, 1, H, W] per layer, or a source of it for some samples; None for no noise."""


def precision_of(recipe: Recipe) -> torch.dtype:
    """Return the type that a recipe's convolutions run in."""
    return torch.bfloat16 if recipe.precision == "bf16" else torch.float32


@dataclass(frozen=True)
class Compute:
    """How the layers of a step compute; never what they compute."""

    device: torch.device
    precision: torch.dtype
    """Precision of convolutions: float32 or bfloat16."""

    @contextmanager
    def step(self) -> Iterator[None]:
        """Set how a whole part computes: float32 layers, and TF32 matmuls (cuDNN convolutions use TF32 by default)."""
        before = torch.get_float32_matmul_precision()
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        try:
            with use_backend(FLOAT32, self.device.type):
                yield
        finally:
            torch.set_float32_matmul_precision(before)

    def layers(
        self,
        double_backward: bool = False,  # True: what runs inside is differentiated twice
        full_precision: bool = False,  # True: float32, whatever the precision
    ) -> AbstractContextManager[None]:
        """Return the context of one forward pass: convolutions in `precision`, and fused layers on a GPU."""
        precision = torch.float32 if full_precision else self.precision
        backend = replace(FLOAT32, precision=precision, fused=True, double_backward=double_backward)
        return use_backend(backend, self.device.type)


@dataclass(frozen=True)
class Players:
    """The two networks, and how a step uses them."""

    g: Generator
    d: Discriminator
    compute: Compute
    mixing: bool
    """Whether a second latent counts from layer `cutoff` on (style mixing)."""
    augment: Augment | None = None
    """Augmentation of the images that D sees; None for none."""
    blur_reach: int = 0
    """Radius of the largest blur of what D sees, in pixels."""

    def styles(self, inputs: Inputs, index: Index) -> Tensor:
        """Return the mapped latents of some samples, [n, L, D]."""
        z = inputs["z"][:, index]  # [2, n, Z]
        first = self.g.mapping(z[0])
        if not self.mixing or self.g.num_layers == 1:
            return first
        layer = torch.arange(self.g.num_layers, device=z.device)
        second = layer[None, :] >= inputs["cutoff"][index][:, None]  # [n, L]
        return torch.where(second[:, :, None], self.g.mapping(z[1]), first)

    def synthesize(self, styles: Tensor, noise: Noise, index: Index) -> Tensor:
        """Return G's images [n, C, H, W] of the styles [n, L, D] of some samples."""
        kind, source = noise_of(noise, index, len(styles))
        return self.g.synthesis(styles, noise=kind, generator=source)

    def observe(self, styles: Tensor, noise: Noise, index: Index) -> tuple[Tensor, Tensor | None]:
        """Return the same, and what G wants to know of the batch."""
        kind, source = noise_of(noise, index, len(styles))
        return self.g.observed_synthesis(styles, noise=kind, generator=source)

    def seen(
        self,
        images: Tensor,  # [n, C, H, W], the samples `index`
        inputs: Inputs,  # blur, and `draws`
        draws: str,  # name of the random numbers of the whole local batch; None for no augmentation
        index: Index = slice(None),
    ) -> Tensor:
        """Return images as D sees them: blurred, then augmented."""
        if inputs["blur"] is not None:
            images = blur(images, inputs["blur"], self.blur_reach)
        if self.augment is None or inputs[draws] is None:
            return images
        return self.augment.apply_draws(images, Draws(*(part[index] for part in inputs[draws])))


def noise_of(
    noise: Noise,
    index: Index,
    count: int,  # samples, those of `index` or the first of them
) -> tuple[str, Randomness]:
    """Return the kind of noise that a synthesis network takes for some samples, and its source."""
    if noise is None:
        return "none", None
    if isinstance(noise, list):
        return "random", DrawnNoise([maps[index][:count] for maps in noise])
    return "random", noise(index)


def blur(
    images: Tensor,  # [N, C, H, W]
    sigma: Tensor,  # []: pixels after which the weight is one half
    reach: int,  # radius of the largest kernel in pixels
) -> Tensor:
    """Return images blurred with the weights 2 ** -(d / sigma) ** 2 up to d = 3 sigma (Karras 2021, appendix G)."""
    with full_precision(images):  # bfloat16 would round by a whole 8-bit step
        return _blur(images, sigma, reach)


def _blur(images: Tensor, sigma: Tensor, reach: int) -> Tensor:
    d = torch.arange(-reach, reach + 1, device=images.device)
    weights = torch.exp2(-((d / sigma) ** 2)) * (d.abs() <= (3 * sigma).floor())
    weights = (weights / weights.sum()).to(images.dtype)
    rows = F.conv2d(images.flatten(0, 1)[:, None], weights[None, None, :, None], padding=(reach, 0))
    return F.conv2d(rows, weights[None, None, None, :], padding=(0, reach)).view_as(images)


def score_pair(d: Discriminator, real: Tensor, fake: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return D's logits of two batches [n, C, H, W] from one pass, with the minibatch stddev of each batch alone.

    Both results hold a tensor [n, K] per scale of D.
    """
    n, group = len(real), d.minibatch_group
    size = stddev_group(n, group)
    if not group or stddev_group(2 * n, group) != size:
        return scores(d, real), scores(d, fake)

    # Sample i belongs to group i mod groups: put the reals' groups first in each row, then the fakes'.
    both = torch.cat([batch.unflatten(0, (size, n // size)) for batch in (real, fake)], 1)  # [size, 2 groups, ...]
    halves = [
        logits.unflatten(0, (size, 2 * n // size)).split(n // size, 1)  # [size, groups, K] each
        for logits in scores(d, both.flatten(0, 1))
    ]
    return [half.flatten(0, 1) for half, _ in halves], [half.flatten(0, 1) for _, half in halves]


def scores(d: Discriminator, images: Tensor) -> list[Tensor]:
    """Return D's float32 logits of images [n, C, H, W], [n, K] per scale."""
    return [logits.float() for logits in d.logits(images)]


def objectives(
    d: Discriminator,
    objective: Objective,  # the recipe's
    count: int,  # of D's logits
) -> list[Objective]:
    """Return the losses of each of D's logits: the recipe's, or the logistic one for those that D names."""
    found = [objective] * count
    if d.usual is not None:
        found[d.usual] = [OBJECTIVES["logistic"]] * len(found[d.usual])
    return found


def mean_sign(logits: list[Tensor]) -> Tensor:
    """Return the mean sign of logits [n, K], averaged over scales, []."""
    return mean_over_scales([each.sign().mean() for each in logits])


def image_logits(logits: list[Tensor]) -> Tensor:
    """Return one logit per image, [n, 1]: the mean over scales and patches."""
    return logits[0] if len(logits) == 1 else torch.stack([each.mean(1) for each in logits], 1).mean(1, keepdim=True)


@dataclass(frozen=True)
class DPhase:
    """The discriminator's phase: fakes against reals, with the gradient penalty that is due."""

    players: Players
    objective: Objective = OBJECTIVES["logistic"]
    r1_weight: float = 0.0
    """Weight of R1 in this step, times the steps it stands for; 0 if it is not due."""
    gp_weight: float = 0.0
    """Weight of WGAN-GP's gradient penalty; 0 for none."""

    def __call__(
        self,
        inputs: Inputs,  # reals, z, cutoff, noise, blur, augment_real, augment_fake; positions [n] with gp_weight
        index: Index,
        share: float,
    ) -> Stats:
        """Add the gradients of some samples to D's parameters, and return statistics."""
        players, compute = self.players, self.players.compute
        d, r1 = players.d, self.r1_weight > 0
        with torch.no_grad(), compute.layers():
            fake, observed = players.observe(players.styles(inputs, index), inputs["noise"], index)
            fake_seen = players.seen(fake, inputs, "augment_fake", index)
        real = inputs["reals"][index].detach().requires_grad_(r1)

        # R1 differentiates D twice, in float32; without it both batches share one pass.
        if r1:
            with compute.layers(double_backward=True, full_precision=True):
                real_logits = scores(d, players.seen(real, inputs, "augment_real", index))
            with compute.layers():
                fake_logits = scores(d, fake_seen)
        else:
            with compute.layers():
                real_seen = players.seen(real, inputs, "augment_real", index)
                real_logits, fake_logits = score_pair(d, real_seen, fake_seen)
        rows = zip(objectives(d, self.objective, len(real_logits)), real_logits, fake_logits, strict=True)
        loss = mean_over_scales([objective.discriminator(*pair) for objective, *pair in rows])
        stats = {"loss_d": loss, "sign_real": mean_sign(real_logits), "sign_fake": mean_sign(fake_logits)}
        if observed is not None:
            stats["observed"] = observed

        if r1:
            penalty = losses.r1_penalty(real, image_logits(real_logits[d.usual or slice(None)])).mean()
            loss = loss + penalty * self.r1_weight
            stats["r1"] = penalty
        if self.gp_weight:
            penalty = losses.gradient_penalty(d, real, fake, inputs["positions"][index], self.gp_weight).mean()
            loss = loss + penalty
            stats["gradient_penalty"] = penalty
        (loss * share).backward()
        return stats


@dataclass(frozen=True)
class GPhase:
    """The generator's phase: fakes that D should take for real, with the path length penalty if it is due."""

    players: Players
    objective: Objective = OBJECTIVES["logistic"]
    path_weight: float = 0.0
    """Weight of the path length penalty; 0 if it is not due."""

    def __call__(
        self,
        inputs: Inputs,  # z, cutoff, noise, blur, augment_fake; directions, path_noise and path_mean with path_weight
        index: Index,
        share: float,
    ) -> Stats:
        """Add the gradients of some samples to G's parameters, and return statistics and the mean w [D]."""
        players, compute = self.players, self.players.compute
        with compute.layers():
            styles = players.styles(inputs, index)
            fake = players.synthesize(styles, inputs["noise"], index)
            logits = scores(players.d, players.seen(fake, inputs, "augment_fake", index))
        rows = zip(objectives(players.d, self.objective, len(logits)), logits, strict=True)
        loss = mean_over_scales([objective.generator(each) for objective, each in rows])
        (loss * share).backward()
        stats = {"loss_g": loss, "w_mean": styles.detach()[:, 0].mean(0)}
        if not self.path_weight:
            return stats

        with compute.layers(double_backward=True):
            styles = players.styles(inputs, index)
            styles = styles[: max(len(styles) // PATH_BATCH_FRACTION, 1)].clone()
            images = players.synthesize(styles, inputs["path_noise"], index)
        direction = inputs["directions"][index][: len(styles)]
        path = losses.path_length(images, styles, inputs["path_mean"], direction, self.path_weight, lagged=True)
        (path.penalty * (PATH_INTERVAL * share)).backward()
        return stats | {"path_length": path.lengths.mean(), "path_mean": path.mean}
