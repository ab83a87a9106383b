"""The StyleGAN2 of lucidrains' stylegan2-pytorch: bilinear upsampling, one style per block, one noise map for all."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.nets.base import Discriminator, DiscriminatorConfig, Family, GeneratorConfig, typed
from figment.nets.layers import block_channels, block_sizes
from figment.nets.mapping import StyleGenerator
from figment.nets.noise import Randomness, broadcast_noise, random_maps
from figment.nets.ops import full_precision


def blur(x: Tensor) -> Tensor:
    """Filter `x` [N, C, H, W] with [1, 2, 1] in both directions; borders are mirrored."""
    line = x.new_tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """Upsample `x` [N, C, H, W] by 2 bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class StyleMapper(nn.Module):
    """Fully connected layers from z, scaled to length 1, to w; weights and biases are multiplied by `lr_mul`."""

    def __init__(self, dim: int, depth: int, lr_mul: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(depth))
        self.lr_mul = lr_mul

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map [N, dim] to [N, dim]."""
        x = F.normalize(z.to(next(self.parameters()).dtype), dim=1)
        with full_precision(x):
            for layer in typed(self.layers, nn.Linear):
                x = F.leaky_relu(F.linear(x, layer.weight * self.lr_mul, layer.bias * self.lr_mul), 0.2)
        return x


class ModulatedConv(nn.Module):
    """A convolution whose inputs are scaled by 1 + style and whose outputs are scaled back to unit norm."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, kernel: int, demodulate: bool = True) -> None:
        super().__init__()
        self.style = nn.Linear(w_dim, inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * math.sqrt(2 / inputs) / kernel)
        self.padding, self.demodulate = kernel // 2, demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map [N, inputs, H, W] and [N, w_dim] to [N, outputs, H, W]."""
        with full_precision(x):
            style: Tensor = self.style(w) + 1  # [N, inputs]
            if not self.demodulate:  # to RGB
                x = x.to(self.weight.dtype) * style[:, :, None, None]
                return F.conv2d(x, self.weight, padding=self.padding)
            energy: Tensor = style.square() @ self.weight.square().sum([2, 3]).t()  # [N, outputs]
        x = F.conv2d(x * style.to(x.dtype)[:, :, None, None], self.weight, padding=self.padding)
        return x * (energy + 1e-8).rsqrt().to(x.dtype)[:, :, None, None]


class GeneratorBlock(nn.Module):
    """One resolution of the generator: two modulated convolutions with noise, and a to-RGB layer."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, channels: int) -> None:
        super().__init__()
        self.conv1 = ModulatedConv(inputs, outputs, w_dim, 3)
        self.noise1 = nn.Linear(1, outputs)
        self.conv2 = ModulatedConv(outputs, outputs, w_dim, 3)
        self.noise2 = nn.Linear(1, outputs)
        self.rgb = ModulatedConv(outputs, channels, w_dim, 1, demodulate=False)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W]."""
        for conv, affine in ((self.conv1, self.noise1), (self.conv2, self.noise2)):
            x = conv(x, w)
            if noise is None:
                x = x + affine.bias[:, None, None]
            else:
                # The original program transposes its noise: rows of the map are columns of the image.
                maps = noise[:, :, : x.shape[2], : x.shape[3]].transpose(2, 3)
                x = torch.addcmul(x + affine.bias[:, None, None], affine.weight[:, :, None], maps)
            x = F.leaky_relu(x, 0.2)
        return x


@dataclass(frozen=True)
class LucidrainsConfig(GeneratorConfig):
    """What lucidrains' generator is built from; it has no labels."""

    resolution: int = 128
    """Side of the images in pixels."""
    widths: tuple[int, ...] | None = None
    """Feature maps of every block, smallest first; None for 16 x 2^k."""
    map_depth: int = 8
    """Layers of the mapping network."""
    map_lr_mul: float = 0.1
    """Learning rate of the mapping network relative to the rest."""
    no_const: bool = False
    """Make the first block's input from the mean style instead of a constant."""


class LucidrainsGenerator(StyleGenerator):
    """The generator; `num_layers` counts blocks, each with one style."""

    config: LucidrainsConfig
    noise: Tensor  # [H, W], uniform in [0, 1]

    def __init__(self, config: LucidrainsConfig) -> None:
        super().__init__(config)
        if config.c_dim:
            raise ValueError(f"c_dim {config.c_dim}: this family has no labels")
        sizes = block_sizes(config.resolution, (4, 4))
        self.size = sizes[-1]
        self.w_dim, self.map_depth = config.z_dim, config.map_depth
        self.widths = block_channels(len(sizes), 32 * config.resolution, 512, config.widths)
        self.num_layers = len(sizes)
        first, z_dim = self.widths[0], config.z_dim

        self.mapper = StyleMapper(z_dim, config.map_depth, config.map_lr_mul)
        self.register_buffer("w_avg", torch.zeros(z_dim))
        self.register_buffer("noise", torch.rand(config.resolution, config.resolution))
        self.const = None if config.no_const else nn.Parameter(torch.randn(first, 4, 4))
        self.to_const = nn.ConvTranspose2d(z_dim, first, 4, bias=False) if config.no_const else None
        self.conv = nn.Conv2d(first, first, 3, padding=1)
        self.blocks = nn.ModuleList(
            GeneratorBlock(a, b, z_dim, config.channels)
            for a, b in zip([first, *self.widths], self.widths, strict=False)
        )

    def synthesis(self, w: Tensor, noise: str = "const", generator: Randomness = None) -> Tensor:
        """Return the images of `w` [N, num_layers, w_dim]: [N, channels, H, W] in about [-1, 1] (0 to 1 originally)."""
        w = w.to(self.w_avg.dtype)
        maps = self._maps(noise, w.shape[0], generator)
        if self.to_const is not None:
            x = self.to_const(w.mean(1)[:, :, None, None])
        elif self.const is not None:
            x = self.const[None].expand(w.shape[0], -1, -1, -1)
        x = self.conv(x)
        image = w.new_zeros([])
        for level, block in enumerate(typed(self.blocks, GeneratorBlock)):
            x = upsample(x) if level else x
            x = block(x, w[:, level], maps)
            rgb = block.rgb(x, w[:, level])
            with full_precision(x):
                image = rgb + blur(upsample(image)) if level else rgb
        return image * 2 - 1

    def _maps(self, kind: str, batch: int, generator: Randomness) -> Tensor | None:
        if kind == "random":
            shape = (batch, 1, self.resolution, self.resolution)
            return random_maps(shape, self.noise, generator, torch.rand)
        return broadcast_noise(kind, self.noise, batch)

    def layer_of(self, name: str) -> int | None:
        """Return the block that a weight belongs to; None for the mapping network and the shared noise."""
        self.require_weight(name)
        if name.startswith("mapper.") or name in ("w_avg", "noise"):
            return None
        match = re.match(r"blocks\.(\d+)\.", name)
        return int(match[1]) if match else 0  # the constant and the convolution behind it

    def style_weights(self) -> list[Tensor]:
        """Return the weights [C, w_dim] of every style, in the order of the layers."""
        blocks = typed(self.blocks, GeneratorBlock)
        return [conv.style.weight for block in blocks for conv in (block.conv1, block.conv2, block.rgb)]

    def noise_strengths(self) -> dict[str, nn.Parameter]:
        """Return every convolution's noise weights [C, 1], by name."""
        return {name: value for name, value in self.named_parameters() if re.search(r"\.noise[12]\.weight$", name)}


@dataclass(frozen=True)
class LucidrainsDiscriminatorConfig(DiscriminatorConfig):
    """What lucidrains' discriminator is built from; it has no labels."""

    resolution: int = 128
    """Side of the images in pixels."""
    widths: tuple[int, ...] | None = None
    """Feature maps behind every block, the largest resolution first; None for 64 x 2^k."""


class DiscriminatorBlock(nn.Module):
    """Two convolutions and a skip connection; a third, strided convolution behind a blur halves the size."""

    def __init__(self, inputs: int, outputs: int, down: bool) -> None:
        super().__init__()
        self.skip = nn.Conv2d(inputs, outputs, 1, stride=2 if down else 1)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.down = nn.Conv2d(outputs, outputs, 3, padding=1, stride=2) if down else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H/2, W/2], or the same size in the last block."""
        skip: Tensor = self.skip(x)
        x = F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x), 0.2)), 0.2)
        if self.down is not None:
            x = self.down(blur(x))
        return (x + skip) / math.sqrt(2)


class LucidrainsDiscriminator(Discriminator):
    """The discriminator, without minibatch stddev."""

    config: LucidrainsDiscriminatorConfig

    def __init__(self, config: LucidrainsDiscriminatorConfig) -> None:
        super().__init__(config)
        if config.c_dim:
            raise ValueError(f"c_dim {config.c_dim}: this family has no labels")
        sizes = block_sizes(config.resolution, (4, 4))
        self.size = sizes[-1]
        self.widths = list(config.widths or (min(64 << k, 512) for k in range(len(sizes) + 1)))
        last = len(self.widths) - 1
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(a, b, down=k < last)
            for k, (a, b) in enumerate(zip([config.channels, *self.widths], self.widths, strict=False))
        )
        self.conv = nn.Conv2d(self.widths[-1], self.widths[-1], 3, padding=1)
        self.out = nn.Linear(self.widths[-1] * 4, 1)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return the logits [N, 1] of images [N, channels, H, W] in [-1, 1]."""
        features = deque(self._block_outputs(x), maxlen=1)[0]  # the others need not stay in memory
        with full_precision(features):
            logits: Tensor = self.out(self.conv(features.to(self.out.weight.dtype)).flatten(1))
        return logits

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps [N, K, h, w] behind every block, from fine to coarse."""
        return list(self._block_outputs(x))

    def freeze_order(self) -> list[nn.Module]:
        """Return the layers from the image on."""
        return [layer for block in self.blocks for layer in block.children()]

    def _block_outputs(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the feature maps behind every block."""
        x = (x + 1) / 2
        for block in self.blocks:
            x = block(x)
            yield x


FAMILY = Family(
    "lucidrains",
    generator=LucidrainsGenerator,
    generator_config=LucidrainsConfig,
    discriminator=LucidrainsDiscriminator,
    discriminator_config=LucidrainsDiscriminatorConfig,
)
