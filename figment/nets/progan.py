"""ProGAN: the progressively grown GAN without styles (Karras et al. 2017, arXiv 1710.10196)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.nets.base import Family, Generator, GeneratorConfig, Network, typed
from figment.nets.growing import (
    MINIBATCHES,
    TICKS,
    Growing,
    GrowingConfig,
    GrowingDiscriminator,
    GrowingDiscriminatorConfig,
    GrowingSurgery,
    GrowthSchedule,
    fade,
    listed_gpus,
    repeat_pixels,
    upsample_conv,
)
from figment.nets.layers import SQRT2, Conv2d, leaky_relu, pixel_norm, rgb_output
from figment.nets.mapping import truncate
from figment.nets.noise import Randomness

LEARNING_RATES = {
    1: {1024: 0.0015},
    2: {512: 0.0015, 1024: 0.002},
    4: {256: 0.0015, 512: 0.002, 1024: 0.003},
    8: {128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003},
}
"""Learning rates by number of GPUs and resolution; 0.001 elsewhere."""


class FirstBlock(nn.Module):
    """The latent as the first feature maps: a fully connected layer with one bias per map, and a convolution."""

    def __init__(self, latent: int, outputs: int, size: tuple[int, int], channels: int) -> None:
        super().__init__()
        area = size[0] * size[1]
        self.size = size
        self.weight = nn.Parameter(torch.randn(outputs * area, latent))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = SQRT2 / 4 / math.sqrt(latent)
        self.conv1 = Conv2d(outputs, outputs, 3, gain=SQRT2, act_gain=1.0)
        self.rgb = Conv2d(outputs, channels, 1, activate=False)

    def forward(self, z: Tensor) -> Tensor:
        """Map [N, latent] to [N, outputs, h, w]."""
        x = F.linear(z, self.weight * self.scale)
        x = x.reshape(z.shape[0], -1, *self.size)  # [N, C, h, w]
        x = pixel_norm(leaky_relu(x + self.bias[:, None, None]))
        return pixel_norm(self.conv1(x))


class UpsamplingBlock(nn.Module):
    """One resolution of the generator: two convolutions, the first at twice the size, pixel norm after each."""

    def __init__(self, inputs: int, outputs: int, channels: int) -> None:
        super().__init__()
        self.conv0 = Conv2d(inputs, outputs, 3, gain=SQRT2, act_gain=1.0)
        self.conv1 = Conv2d(outputs, outputs, 3, gain=SQRT2, act_gain=1.0)
        self.rgb = Conv2d(outputs, channels, 1, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, h, w] to [N, outputs, 2h, 2w]."""
        x = upsample_conv(x, self.conv0.weight * self.conv0.scale, self.conv0.bias)
        return pixel_norm(self.conv1(pixel_norm(leaky_relu(x))))


@dataclass(frozen=True)
class ProGANConfig(GrowingConfig, GeneratorConfig):
    """What ProGAN's generator is built from."""

    normalise: bool = True
    """Scale the latent to unit mean square."""


class ProGANGenerator(Growing, Generator):
    """The generator of 2017, table 2. Its "w" is the latent itself with the label beside it, for one layer."""

    config: ProGANConfig

    def __init__(self, config: ProGANConfig) -> None:
        super().__init__(config)
        self.w_dim, self.num_layers = config.z_dim + config.c_dim, 1
        first = FirstBlock(self.w_dim, self.widths[0], self.sizes[0], config.channels)
        later = [UpsamplingBlock(a, b, config.channels) for a, b in zip(self.widths, self.widths[1:], strict=False)]
        self.blocks = nn.ModuleList([first, *later])

    @property
    def w_avg(self) -> Tensor:  # type: ignore[override]  # a buffer elsewhere
        """The mean of the latent, [w_dim]: zero, so that truncation scales it."""
        return next(self.parameters()).new_zeros(self.w_dim)

    def mapping(
        self,
        z: Tensor,  # [N, z_dim]
        c: Tensor | None = None,  # [N, c_dim]; None means no label, all zeros
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,  # 0 switches truncation off; there is one layer only
    ) -> Tensor:
        """Return the latent with its label, [N, 1, z_dim + c_dim]."""
        w = z.to(self.dtype)
        if self.c_dim:
            c = w.new_zeros(w.shape[0], self.c_dim) if c is None else c.to(w.dtype)
            w = torch.cat([w, c], 1)
        return truncate(w[:, None], self.w_avg, truncation_psi, truncation_cutoff)

    def update_w_avg(self, mean: Tensor, beta: float = 0.995) -> None:
        """Do nothing: the mean of a normal latent is zero."""

    def synthesis(
        self,
        w: Tensor,  # [N, 1, w_dim]
        noise: str = "const",  # this family has none
        generator: Randomness = None,
        full_size: bool = True,  # repeat pixels to the full size if `lod` is above 0
    ) -> Tensor:
        """Return the images of `w`, [N, channels, H, W] in about [-1, 1]."""
        x = w[:, 0].to(self.dtype)
        x = pixel_norm(x) if self.config.normalise else x
        finest, share = self.finest()
        features: list[Tensor] = []
        for block in self.blocks[: finest + 1]:
            x = block(x)
            features = [*features[-1:], x]

        def rgb(level: int) -> Tensor:
            return rgb_output(features[level - finest - 1], self._rgb_layer(level))

        image = fade(finest, share, rgb)
        return repeat_pixels(image, 2 ** (len(self.sizes) - 1 - finest)) if full_size else image

    def _rgb_layer(self, level: int) -> Conv2d:
        return self.first.rgb if level == 0 else typed(self.blocks[1:], UpsamplingBlock)[level - 1].rgb

    @property
    def first(self) -> FirstBlock:
        """The block that the latent goes into."""
        return typed(self.blocks[:1], FirstBlock)[0]

    def layer_of(self, name: str) -> int | None:
        """Return the block of a weight: all layers share one w here. Raises ValueError for an unknown name."""
        self.require_weight(name)
        return int(name.split(".")[1])  # blocks.LEVEL.

    @property
    def num_weight_layers(self) -> int:
        """Blocks, which `layer_of` tells apart."""
        return len(self.sizes)

    def synthesis_parameters(self) -> Iterator[nn.Parameter]:
        """Yield all parameters: there is no mapping network."""
        return self.parameters()


@dataclass(frozen=True)
class ProGANDiscriminatorConfig(GrowingDiscriminatorConfig):
    """What ProGAN's discriminator is built from."""


class ProGANDiscriminator(GrowingDiscriminator):
    """ProGAN's discriminator; predicts labels too, as AC-GAN does (Odena et al. 2016, arXiv 1610.09585)."""

    def __init__(self, config: ProGANDiscriminatorConfig) -> None:
        super().__init__(config, 1 + config.c_dim)

    def forward(
        self,
        x: Tensor,  # [N, channels, H, W] in [-1, 1], at full size or at that of the finest block in use
        c: Tensor | None = None,  # the score does not depend on it
    ) -> Tensor:
        """Return the critic values of images, [N, 1]."""
        return self.outputs(x)[:, :1]

    def labels(self, x: Tensor) -> Tensor:
        """Return the predicted labels of images `x`, logits [N, c_dim]."""
        return self.outputs(x)[:, 1:]


class ProGANSurgery(GrowingSurgery):
    """Drops labels from a latent that goes straight into the first block."""

    def fold_label(self, network: Generator, tensors: dict[str, Tensor], mean: Tensor) -> None:
        """Let the first block see z alone; the label's share is averaged over the block's pixels."""
        if not isinstance(network, ProGANGenerator):
            raise TypeError(f"a {network.family.name} generator is no ProGAN")
        block, z_dim = network.first, network.z_dim
        length = (z_dim + float(mean.square().sum())) / network.w_dim if network.config.normalise else 1.0
        scale = length**-0.5
        added = (block.weight[:, z_dim:] @ mean[0] * (block.scale * scale)).reshape(len(block.bias), -1).mean(1)
        tensors["blocks.0.weight"] = block.weight[:, :z_dim] * (scale * math.sqrt(z_dim / network.w_dim))
        tensors["blocks.0.bias"] = block.bias + added

    def fold_scores(self, network: Network, tensors: dict[str, Tensor], mean: Tensor) -> None:
        """Keep the critic value and drop the predicted labels."""
        for name in ("out.weight", "out.bias"):
            tensors[name] = tensors[name][:1].clone()


def growth(gpus: int = 1) -> GrowthSchedule:
    """Return ProGAN's schedule (preset v2 of its TensorFlow config.py): from 4x4, shorter last ticks."""
    gpus = listed_gpus(gpus)
    return GrowthSchedule(
        initial=4, minibatch=MINIBATCHES[gpus], lr=LEARNING_RATES[gpus], tick_kimg=TICKS | {512: 20, 1024: 10}
    )


FAMILY = Family(
    "progan",
    generator=ProGANGenerator,
    generator_config=ProGANConfig,
    discriminator=ProGANDiscriminator,
    discriminator_config=ProGANDiscriminatorConfig,
    surgery=ProGANSurgery(),
    growth=growth,
    loss="wgan-gp",
    preset="progan",
)
