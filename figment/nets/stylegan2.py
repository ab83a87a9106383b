"""StyleGAN2: modulated convolutions, a skip generator and a residual discriminator.

Source: Karras et al. 2019, arXiv 1912.04958, and Karras et al. 2020 (StyleGAN2-ADA), arXiv 2006.06676.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from figment.nets.base import Family, GeneratorConfig, Network, typed
from figment.nets.blocks import BlockDiscriminator, BlockDiscriminatorConfig
from figment.nets.layers import SQRT2, Conv2d, Linear, block_channels, block_sizes
from figment.nets.mapping import Mapping, StyleGenerator
from figment.nets.noise import Randomness, broadcast_noise
from figment.nets.ops import (
    FIR_1331,
    conv2d,
    conv_transpose2d,
    filtered_lrelu,
    full_precision,
    modulate,
    to_layout,
    to_rgb,
    upsample2d,
)
from figment.nets.surgery import Surgery


class StyledConv(nn.Module):
    """A 3x3 convolution whose weights are scaled by a style and brought back to unit variance, then noise.

    Computed as one shared convolution for all samples: inputs are scaled by the style before it, outputs by the
    demodulation after it (Karras et al. 2019, section 2.2, equations 1 to 3).
    """

    noise: Tensor  # [H, W]

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        size: tuple[int, int],  # height and width of the output
        up: bool = False,  # upsample by 2
        clamp: float | None = None,  # limit of the absolute activations; None for no limit
    ) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise", torch.randn(size))
        self.up, self.clamp = up, clamp

    def forward(self, x: Tensor, w: Tensor, noise: str, generator: Randomness) -> Tensor:
        """Map [N, inputs, h, w] and [N, w_dim] to [N, outputs, H, W]."""
        with full_precision(x):
            style = self.affine(w.to(self.weight.dtype))  # [N, inputs]
            energy = style.square() @ self.weight.square().sum([2, 3]).t()  # [N, outputs]
            demodulate = (energy + 1e-8).rsqrt() * SQRT2
        x = modulate(x, style)
        kernel = self.weight
        x = conv_transpose2d(x, kernel.transpose(0, 1), stride=2) if self.up else conv2d(x, kernel, padding=1)
        return filtered_lrelu(
            x,
            self.bias * SQRT2,
            scale=demodulate,
            noise=broadcast_noise(noise, self.noise, x.shape[0], generator),
            noise_strength=self.noise_strength * SQRT2,
            taps=FIR_1331 if self.up else 1,
            padding=1 if self.up else 0,
            gain=4.0 if self.up else 1.0,
            clamp=self.clamp,
        )


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to RGB, without demodulation."""

    def __init__(self, inputs: int, channels: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = 1 / math.sqrt(inputs)
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map [N, inputs, H, W] and [N, w_dim] to float32 [N, channels, H, W]."""
        return to_rgb(x, self.weight, self.affine(w) * self.scale, self.bias, self.clamp)


class GeneratorBlock(nn.Module):
    """One resolution of the generator: two styled convolutions (one in the first block), and a to-RGB layer."""

    def __init__(
        self,
        inputs: int,  # 0 for the first block
        outputs: int,
        size: tuple[int, int],
        config: StyleGAN2Config,
    ) -> None:
        super().__init__()
        w_dim, clamp = config.w_dim, config.clamp
        self.conv0 = StyledConv(inputs, outputs, w_dim, size, up=True, clamp=clamp) if inputs else None
        self.conv1 = StyledConv(outputs, outputs, w_dim, size, clamp=clamp)
        self.rgb = ToRGB(outputs, config.channels, w_dim, clamp)

    def convs(self) -> list[StyledConv]:
        """Return the styled convolutions in order."""
        return [self.conv1] if self.conv0 is None else [self.conv0, self.conv1]

    def affines(self) -> list[Linear]:
        """Return the layers that make styles of w, in order."""
        return [*(conv.affine for conv in self.convs()), self.rgb.affine]


@dataclass(frozen=True)
class StyleGAN2Config(GeneratorConfig):
    """What StyleGAN2's generator is built from."""

    w_dim: int = 512
    """Length of the latent w."""
    start: tuple[int, int] = (4, 4)
    """Height and width of the constant; the resolution is its longer side times a power of two."""
    channel_base: int = 32768
    """Feature maps times resolution: a block at resolution r has channel_base / r."""
    channel_max: int = 512
    """Most feature maps of any block."""
    widths: tuple[int, ...] | None = None
    """Feature maps of every block, smallest first; None for the rule above."""
    map_depth: int = 8
    """Layers of the mapping network."""
    map_norm: str = "each"
    """How z and the label are normalized: `each` or `joint`, see Mapping."""
    normalize_z: bool = True
    """Whether z is normalized at all."""
    map_lr_mul: float = 0.01
    """Learning rate of the mapping network relative to the rest."""
    clamp: float | None = None
    """Limit of the absolute activations, 256 in StyleGAN2-ADA for float16; None for no limit."""


class StyleGAN2Generator(StyleGenerator):
    """The skip generator: every block adds its RGB to the upsampled image so far (2019, figure 7b)."""

    config: StyleGAN2Config

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__(config)
        sizes = block_sizes(config.resolution, config.start)
        self.size = sizes[-1]
        self.widths = block_channels(len(sizes), config.channel_base, config.channel_max, config.widths)
        self.w_dim, self.map_depth = config.w_dim, config.map_depth
        self.num_layers = 2 * len(sizes)

        self.mapper = Mapping(
            config.z_dim,
            config.c_dim,
            config.w_dim,
            config.map_depth,
            config.map_lr_mul,
            config.map_norm,
            normalize_z=config.normalize_z,
        )
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.const = nn.Parameter(torch.randn(self.widths[0], *sizes[0]))
        self.blocks = nn.ModuleList(
            GeneratorBlock(inputs, outputs, size, config)
            for inputs, outputs, size in zip([0, *self.widths], self.widths, sizes, strict=False)
        )

    def synthesis(self, w: Tensor, noise: str = "const", generator: Randomness = None) -> Tensor:
        """Return the images of `w` [N, num_layers, w_dim]: [N, channels, H, W] in about [-1, 1]."""
        w = w.to(self.w_avg.dtype)
        x = to_layout(self.const[None].expand(w.shape[0], -1, -1, -1))  # [N, C, h, w]
        image: Tensor | None = None
        layer = 0
        for block in typed(self.blocks, GeneratorBlock):
            for conv in block.convs():
                x = conv(x, w[:, layer], noise, generator)
                layer += 1
            # The to-RGB layer shares its latent with the next block's first layer.
            rgb = block.rgb(x, w[:, layer])
            image = rgb if image is None else upsample2d(image) + rgb
        if image is None:
            raise ValueError("a generator without blocks")
        return image

    def layer_of(self, name: str) -> int | None:
        """Return the layer of w that a weight belongs to; None for the mapping network."""
        self.require_weight(name)
        if name.startswith("mapper.") or name == "w_avg":
            return None
        match = re.match(r"blocks\.(\d+)\.(conv0|conv1|rgb)\.", name)
        if match is None:
            return 0  # the constant
        return 2 * int(match[1]) + {"conv0": -1, "conv1": 0, "rgb": 1}[match[2]]

    def style_weights(self) -> list[Tensor]:
        """Return the weights [C, w_dim] of every style, in the order of the layers."""
        blocks = typed(self.blocks, GeneratorBlock)
        affines = [affine for block in blocks for affine in block.affines()]
        return [affine.weight for affine in affines]

    def noise_strengths(self) -> dict[str, nn.Parameter]:
        """Return every convolution's noise strength [], by name."""
        return {name: value for name, value in self.named_parameters() if name.endswith(".noise_strength")}

    def noise_shapes(self) -> list[tuple[int, int]]:
        """Return height and width of each noise map in the order that `synthesis` draws them."""
        blocks = typed(self.blocks, GeneratorBlock)
        return [(conv.noise.shape[0], conv.noise.shape[1]) for block in blocks for conv in block.convs()]


@dataclass(frozen=True)
class StyleGAN2DiscriminatorConfig(BlockDiscriminatorConfig):
    """What StyleGAN2's discriminator is built from."""

    map_depth: int = 8
    """Layers that map the label; 0 for its normalized embedding."""
    map_lr_mul: float = 0.01
    """Learning rate of these layers relative to the rest."""
    label: str = "project"
    """How labels count: `project` as in StyleGAN2-ADA, or `select`, one output per label, as in TensorFlow."""
    clamp: float | None = None
    """Limit of the absolute activations; None for no limit."""


class DiscriminatorBlock(nn.Module):
    """Two convolutions and a skip connection, both at half the size; their sum has unit variance."""

    def __init__(self, inputs: int, outputs: int, clamp: float | None) -> None:
        super().__init__()
        self.conv0 = Conv2d(inputs, inputs, 3, clamp=clamp)
        self.conv1 = Conv2d(inputs, outputs, 3, down=True, clamp=clamp)
        self.skip = Conv2d(inputs, outputs, 1, down=True, bias=False, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H/2, W/2]."""
        skip: Tensor = self.skip(x, gain=1 / SQRT2)
        x = self.conv1(self.conv0(x), gain=1 / SQRT2)
        return skip + x


class StyleGAN2Discriminator(BlockDiscriminator):
    """The residual discriminator (2019, figure 7c); projects labels as StyleGAN2-ADA does."""

    config: StyleGAN2DiscriminatorConfig

    def __init__(self, config: StyleGAN2DiscriminatorConfig) -> None:
        super().__init__(config)
        clamp = config.clamp
        sizes = block_sizes(config.resolution, config.start)
        self.size = sizes[-1]
        self.widths = block_channels(len(sizes), config.channel_base, config.channel_max, config.widths)

        first = self.widths[0]
        self.from_rgb = Conv2d(config.channels, self.widths[-1], 1, clamp=clamp)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(larger, smaller, clamp)
            for smaller, larger in zip(self.widths, self.widths[1:], strict=False)
        )
        self.conv = Conv2d(first + config.mbstd_channels, first, 3, clamp=clamp)
        self.dense = Linear(first * sizes[0][0] * sizes[0][1], first, activate=True)
        outputs = 1 if not config.c_dim else config.c_dim if config.label == "select" else first
        self.out = Linear(first, outputs)
        projects = config.c_dim and config.label == "project"
        self.mapper = Mapping(0, config.c_dim, first, config.map_depth, config.map_lr_mul) if projects else None

    def forward(
        self,
        x: Tensor,  # [N, channels, H, W] in [-1, 1]
        c: Tensor | None = None,  # [N, c_dim]; None means no label, all zeros
    ) -> Tensor:
        """Return the logits of images, [N, 1]."""
        logits = self.outputs(x)
        if not self.c_dim:
            return logits

        # The projection on the mapped label (Miyato & Koyama 2018, arXiv 1802.05637), or the label's own output.
        c = logits.new_zeros(len(x), self.c_dim) if c is None else c.to(logits.dtype)
        if self.mapper is None:
            return (logits * c).sum(1, keepdim=True)
        mapped: Tensor = self.mapper(None, c)
        return (logits * mapped).sum(1, keepdim=True) / math.sqrt(logits.shape[1])

    def block_outputs(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the from-RGB features, then the feature maps behind every block."""
        x = self.from_rgb(to_layout(x))
        yield x
        for block in reversed(self.blocks):
            x = block(x)
            yield x


class StyleGAN2Surgery(Surgery):
    """New blocks start as no-ops: G's add no RGB, D's pass on what the old first layer made of the half-size image."""

    def start_as_no_op(self, network: Network, old: dict[str, Tensor], tensors: dict[str, Tensor], steps: int) -> None:
        """Change `tensors` in place so that new blocks keep the network's outputs."""
        if network.KIND == "generator":
            for name in tensors.keys() - old.keys():
                if name.endswith("rgb.weight"):
                    tensors[name] = torch.zeros_like(tensors[name])
        elif steps == 1:
            _keep_scores(tensors, old["from_rgb.weight"], old["from_rgb.bias"])

    def fold_scores(self, network: Network, tensors: dict[str, Tensor], mean: Tensor) -> None:
        """Fold the direction of the mean label, or the mean of all labels' outputs, into the last layer."""
        if not isinstance(network, StyleGAN2Discriminator) or network.mapper is None:
            super().fold_scores(network, tensors, mean)
            return
        weight, bias = tensors["out.weight"], tensors["out.bias"]
        direction = network.mapper(None, mean) / math.sqrt(len(bias))  # [1, first]
        tensors["out.weight"], tensors["out.bias"] = direction @ weight, (direction @ bias[:, None])[0]


def _keep_scores(tensors: dict[str, Tensor], weight: Tensor, bias: Tensor) -> None:
    """Let the new top block do what the old from-RGB layer [out, C, 1, 1] did, on the image at half the size.

    Feature maps carry the colors x through leaky ReLUs as the pair f(x), f(-x): x = (f(x) - f(-x)) / 1.2. The block's
    other maps start with random weights and without effect.
    """
    colors, width = weight.shape[1], len(tensors["from_rgb.weight"])
    used = 2 * colors
    if width < used:
        return
    top = max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks."))
    pair = torch.cat([torch.eye(colors), -torch.eye(colors)]).to(weight)  # [2 C, C]: from x to (x, -x)
    back = pair.t() / 1.2  # [C, 2 C]: from (f(x), f(-x)) to x
    narrow, wide = math.sqrt(colors), math.sqrt(width * 9)  # what equalized weights are divided by

    # Colors in, through, and out again; equalized layers multiply by sqrt(2), and the last by 1 in all.
    for name in ("from_rgb.weight", "from_rgb.bias"):
        tensors[name] = tensors[name].clone()
    tensors["from_rgb.bias"][:used] = 0
    tensors["from_rgb.weight"][:used] = (pair * (narrow / SQRT2))[:, :, None, None]
    through = tensors[f"blocks.{top}.conv0.weight"]
    through[:used] = 0
    through[:used, :used, 1, 1] = (pair @ back) * (wide / SQRT2)
    out = torch.zeros_like(tensors[f"blocks.{top}.conv1.weight"])
    out[:, :used, 1, 1] = (weight[:, :, 0, 0] @ back) * (SQRT2 / narrow * wide)
    tensors[f"blocks.{top}.conv1.weight"] = out
    tensors[f"blocks.{top}.conv1.bias"] = bias * SQRT2
    tensors[f"blocks.{top}.skip.weight"] = torch.zeros_like(tensors[f"blocks.{top}.skip.weight"])


FAMILY = Family(
    "stylegan2",
    generator=StyleGAN2Generator,
    generator_config=StyleGAN2Config,
    discriminator=StyleGAN2Discriminator,
    discriminator_config=StyleGAN2DiscriminatorConfig,
    surgery=StyleGAN2Surgery(),
    ema_rampup=0.05,
)
