"""StyleGAN: a mapping network, adaptive instance norm, per-pixel noise, progressive growing.

Source: Karras et al. 2018, arXiv 1812.04948.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.nets.base import Family, GeneratorConfig, typed
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
from figment.nets.layers import SQRT2, Conv2d, Linear, leaky_relu, rgb_output
from figment.nets.mapping import Mapping, StyleGenerator
from figment.nets.noise import Randomness, broadcast_noise
from figment.nets.ops import FIR_121, upfirdn2d

LEARNING_RATES = {128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003}
"""Learning rates by resolution on any number of GPUs; 0.001 elsewhere."""


class StyleLayer(nn.Module):
    """A convolution (or the constant) with noise, bias, leaky ReLU, instance norm and style (2018, figure 1b)."""

    noise: Tensor  # [H, W]

    def __init__(
        self,
        inputs: int,  # 0 for the constant
        outputs: int,
        w_dim: int,
        size: tuple[int, int],  # height and width of the output
        up: bool = False,  # upsample by 2, then blur
        norm_eps: float = 1e-8,  # of the instance norm
        bias_first: bool = False,  # add the bias before the blur, whose zero padding then sees it
    ) -> None:
        super().__init__()
        self.conv = Conv2d(inputs, outputs, 3, bias=False, activate=False, gain=SQRT2) if inputs else None
        self.noise_weight = nn.Parameter(torch.zeros(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.style = Linear(w_dim, 2 * outputs)
        self.register_buffer("noise", torch.randn(size))
        self.up, self.norm_eps, self.bias_first = up, norm_eps, bias_first

    def forward(self, x: Tensor, w: Tensor, noise: str, generator: Randomness) -> Tensor:
        """Map [N, inputs, h, w] and [N, w_dim] to [N, outputs, H, W]."""
        bias = self.bias[None, :, None, None]
        if self.conv is not None and self.up:
            x = upsample_conv(x, self.conv.weight * self.conv.scale)
            x = upfirdn2d(x + bias if self.bias_first else x, FIR_121, padding=1)
        elif self.conv is not None:
            x = self.conv(x)
        maps = broadcast_noise(noise, self.noise, x.shape[0], generator)
        if maps is not None:
            x = torch.addcmul(x, maps.to(x.dtype), self.noise_weight[None, :, None, None])
        x = leaky_relu(x + bias) if not (self.up and self.bias_first) else F.leaky_relu(x, 0.2)

        # Instance norm and style as one scale and one shift per feature map.
        scale, shift = self.style(w)[:, :, None, None].chunk(2, 1)  # [N, C, 1, 1] each
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        scale = (scale + 1) * (variance + self.norm_eps).rsqrt()
        return torch.addcmul(shift - mean * scale, x, scale)


class GeneratorBlock(nn.Module):
    """One resolution of the generator: two style layers and a to-RGB layer."""

    def __init__(
        self,
        inputs: int,  # 0 for the first block, whose first layer styles the constant
        outputs: int,
        size: tuple[int, int],
        config: StyleGAN1Config,
    ) -> None:
        super().__init__()
        w_dim, norm_eps = config.w_dim, config.norm_eps
        self.layer0 = StyleLayer(inputs, outputs, w_dim, size, inputs > 0, norm_eps, config.bias_first)
        self.layer1 = StyleLayer(outputs, outputs, w_dim, size, False, norm_eps)
        self.rgb = Conv2d(outputs, config.channels, 1, activate=False)


@dataclass(frozen=True)
class StyleGAN1Config(GrowingConfig, GeneratorConfig):
    """What StyleGAN's generator is built from."""

    w_dim: int = 512
    """Length of the latent w."""
    map_depth: int = 8
    """Layers of the mapping network."""
    map_lr_mul: float = 0.01
    """Learning rate of the mapping network relative to the rest."""
    map_hidden: int | None = None
    """Width of the mapping network's hidden layers; None for w_dim."""
    norm_eps: float = 1e-8
    """Added to the variance in the instance norm; rosinality's port has 1e-5."""
    bias_first: bool = False
    """Add the bias before the blur in upsampling layers, as rosinality's port does."""


class StyleGAN1Generator(Growing, StyleGenerator):
    """The style-based generator."""

    config: StyleGAN1Config

    def __init__(self, config: StyleGAN1Config) -> None:
        super().__init__(config)
        self.w_dim, self.map_depth = config.w_dim, config.map_depth
        self.num_layers = 2 * len(self.sizes)

        self.mapper = Mapping(
            config.z_dim,
            config.c_dim,
            config.w_dim,
            config.map_depth,
            config.map_lr_mul,
            norm="joint",
            hidden=config.map_hidden,
            gain=SQRT2,
            act_gain=1.0,
        )
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.const = nn.Parameter(torch.ones(self.widths[0], *self.sizes[0]))
        self.blocks = nn.ModuleList(
            GeneratorBlock(inputs, outputs, size, config)
            for inputs, outputs, size in zip([0, *self.widths], self.widths, self.sizes, strict=False)
        )

    def synthesis(
        self,
        w: Tensor,  # [N, num_layers, w_dim]
        noise: str = "const",
        generator: Randomness = None,
        full_size: bool = True,  # repeat pixels to the full size if `lod` is above 0
    ) -> Tensor:
        """Return the images of `w`, [N, channels, H, W] in about [-1, 1]."""
        # Features of every block in use; only the last two are kept.
        w = w.to(self.w_avg.dtype)
        finest, share = self.finest()
        blocks = typed(self.blocks, GeneratorBlock)
        x = self.const[None].expand(w.shape[0], -1, -1, -1)  # [N, C, h, w]
        features: dict[int, Tensor] = {}
        for level, block in enumerate(blocks[: finest + 1]):
            x = block.layer0(x, w[:, 2 * level], noise, generator)
            x = block.layer1(x, w[:, 2 * level + 1], noise, generator)
            features = {level: x, **{k: v for k, v in features.items() if k == level - 1}}

        def rgb(level: int) -> Tensor:
            return rgb_output(features[level], blocks[level].rgb)

        image = fade(finest, share, rgb)
        return repeat_pixels(image, 2 ** (len(self.sizes) - 1 - finest)) if full_size else image

    def layer_of(self, name: str) -> int | None:
        """Return the layer of w that a weight belongs to; None for the mapping network."""
        self.require_weight(name)
        if name.startswith("mapper.") or name == "w_avg":
            return None
        match = re.match(r"blocks\.(\d+)\.(layer0|layer1|rgb)\.", name)
        if match is None:
            return 0  # the constant
        return 2 * int(match[1]) + (match[2] != "layer0")

    def style_weights(self) -> list[Tensor]:
        """Return the weights [2 C, w_dim] of every layer's style."""
        blocks = typed(self.blocks, GeneratorBlock)
        return [layer.style.weight for block in blocks for layer in (block.layer0, block.layer1)]

    def noise_strengths(self) -> dict[str, nn.Parameter]:
        """Return every layer's noise weights [C], by name."""
        return {name: value for name, value in self.named_parameters() if name.endswith(".noise_weight")}


@dataclass(frozen=True)
class StyleGAN1DiscriminatorConfig(GrowingDiscriminatorConfig):
    """What StyleGAN's discriminator is built from."""


class StyleGAN1Discriminator(GrowingDiscriminator):
    """StyleGAN's discriminator: blurred downsampling, one output per label."""

    BLUR = True

    def __init__(self, config: StyleGAN1DiscriminatorConfig) -> None:
        super().__init__(config, max(config.c_dim, 1))

    def forward(
        self,
        x: Tensor,  # [N, channels, H, W] in [-1, 1], at full size or at that of the finest block in use
        c: Tensor | None = None,  # [N, c_dim], one-hot; None means no label, all zeros
    ) -> Tensor:
        """Return the logits of images, [N, 1]."""
        logits = self.outputs(x)
        if not self.c_dim:
            return logits
        c = torch.zeros_like(logits) if c is None else c.to(logits.dtype)
        return (logits * c).sum(1, keepdim=True)


def growth(gpus: int = 1) -> GrowthSchedule:
    """Return StyleGAN's schedule (its train.py): from 8x8, minibatches by GPUs."""
    return GrowthSchedule(initial=8, minibatch=MINIBATCHES[listed_gpus(gpus)], lr=LEARNING_RATES, tick_kimg=TICKS)


FAMILY = Family(
    "stylegan1",
    generator=StyleGAN1Generator,
    generator_config=StyleGAN1Config,
    discriminator=StyleGAN1Discriminator,
    discriminator_config=StyleGAN1DiscriminatorConfig,
    surgery=GrowingSurgery(),
    growth=growth,
    preset="stylegan1",
)
