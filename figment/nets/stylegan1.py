"""StyleGAN: a mapping network, adaptive instance norm, noise per pixel, progressive growing (Karras et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.nets.growing import GrowingDiscriminator, Grown, compose, double, repeat_pixels
from figment.nets.layers import SOFT, SQRT2, Conv, Linear, colours_of, fir, lrelu
from figment.nets.levels import level_sizes, level_widths
from figment.nets.mapping import Mapping, StyleGenerator
from figment.nets.noise import Randomness, broadcast_noise


class StyleLayer(nn.Module):
    """A convolution (or the constant) with noise, bias, leaky ReLU, instance norm and style (2018, figure 1b)."""

    noise: Tensor  # [H, W]

    def __init__(
        self,
        inputs: int,  # 0 for the constant
        outputs: int,
        w_dim: int,
        size: tuple[int, int],
        up: bool = False,  # enlarge to twice the size, then blur
        norm_eps: float = 1e-8,  # of the instance norm
        bias_first: bool = False,  # the bias before the blur, whose zero padding then sees it
    ) -> None:
        super().__init__()
        self.conv = Conv(inputs, outputs, 3, bias=False, activate=False, gain=SQRT2) if inputs else None
        self.noise_weight = nn.Parameter(torch.zeros(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.style = Linear(w_dim, 2 * outputs)
        self.register_buffer("noise", torch.randn(size))
        self.up, self.norm_eps, self.bias_first = up, norm_eps, bias_first

    def forward(self, x: Tensor, w: Tensor, noise: str, generator: Randomness) -> Tensor:
        """[N, inputs, h, w] and [N, w_dim] to [N, outputs, H, W]."""
        bias = self.bias[None, :, None, None]
        if self.conv is not None and self.up:
            x = double(x, self.conv.weight * self.conv.scale)
            x = fir(x + bias if self.bias_first else x, SOFT, pad=1)
        elif self.conv is not None:
            x = self.conv(x)
        maps = broadcast_noise(noise, self.noise, x.shape[0], generator)
        if maps is not None:
            x = torch.addcmul(x, maps.to(x.dtype), self.noise_weight[None, :, None, None])
        x = lrelu(x + bias) if not (self.up and self.bias_first) else F.leaky_relu(x, 0.2)

        # Instance norm and style as one scale and one shift per feature map.
        scale, shift = self.style(w)[:, :, None, None].chunk(2, 1)  # [N, C, 1, 1] each
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        scale = (scale + 1) * (variance + self.norm_eps).rsqrt()
        return torch.addcmul(shift - mean * scale, x, scale)


class GeneratorBlock(nn.Module):
    """One resolution of the generator: two style layers, and its colours."""

    def __init__(
        self,
        inputs: int,  # 0 for the first block, whose first layer styles the constant
        outputs: int,
        w_dim: int,
        size: tuple[int, int],
        channels: int,
        norm_eps: float,
        bias_first: bool,
    ) -> None:
        super().__init__()
        self.layer0 = StyleLayer(inputs, outputs, w_dim, size, inputs > 0, norm_eps, bias_first)
        self.layer1 = StyleLayer(outputs, outputs, w_dim, size, False, norm_eps)
        self.rgb = Conv(outputs, channels, 1, activate=False)


class Generator(Grown, StyleGenerator):
    """The style-based generator; `lod` sets how far it has grown."""

    def __init__(
        self,
        z_dim: int = 512,
        c_dim: int = 0,  # labels; 0 for none
        w_dim: int = 512,
        resolution: int = 256,  # the longer side: the start's times a power of two
        channels: int = 3,  # 1 grey, 3 RGB, 4 RGBA
        start: tuple[int, int] = (4, 4),  # height and width of the constant
        channel_base: int = 16384,  # feature maps times resolution
        channel_max: int = 512,  # feature maps of the widest blocks
        widths: list[int] | None = None,  # feature maps of every block, smallest first; None for the rule above
        map_depth: int = 8,  # mapping layers
        map_lr_mul: float = 0.01,  # learning rate of the mapping relative to the rest
        map_hidden: int | None = None,  # width of the mapping's hidden layers; None for w_dim
        norm_eps: float = 1e-8,  # of the instance norm; rosinality's port has 1e-5
        bias_first: bool = False,  # the bias before the blur when enlarging, as in rosinality's port
        lod: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = {
            "family": "stylegan1", "z_dim": z_dim, "c_dim": c_dim, "w_dim": w_dim, "resolution": resolution,
            "channels": channels, "start": list(start), "channel_base": channel_base, "channel_max": channel_max,
            "widths": widths, "map_depth": map_depth, "map_lr_mul": map_lr_mul, "map_hidden": map_hidden,
            "norm_eps": norm_eps, "bias_first": bias_first,
        }  # fmt: skip
        self.sizes = level_sizes(resolution, (start[0], start[1]))
        self.widths = level_widths(len(self.sizes), channel_base, channel_max, widths)
        self.lod = lod
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.resolution, self.channels = resolution, channels
        self.num_layers = 2 * len(self.sizes)

        self.mapper = Mapping(
            z_dim, c_dim, w_dim, map_depth, map_lr_mul, norm="joint", hidden=map_hidden, gain=SQRT2, act_gain=1.0
        )
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.const = nn.Parameter(torch.ones(self.widths[0], *self.sizes[0]))
        self.blocks = nn.ModuleList(
            GeneratorBlock(inputs, outputs, w_dim, size, channels, norm_eps, bias_first)
            for inputs, outputs, size in zip([0, *self.widths], self.widths, self.sizes, strict=False)
        )

    def synthesis(
        self,
        w: Tensor,  # [N, num_layers, w_dim]
        noise: str = "const",
        generator: Randomness = None,
        full_size: bool = True,  # repeat pixels to the full size where `lod` is above 0
    ) -> Tensor:
        """The pictures of `w`: [N, channels, H, W] in about [-1, 1]."""
        # Features of every level in use; only the last two are kept.
        w = w.to(self.w_avg.dtype)
        finest, fade = self.level()
        x = self.const[None].expand(w.shape[0], -1, -1, -1)  # [N, C, h, w]
        features: dict[int, Tensor] = {}
        for level in range(finest + 1):
            block = self.blocks[level]
            assert isinstance(block, GeneratorBlock)
            x = block.layer0(x, w[:, 2 * level], noise, generator)
            x = block.layer1(x, w[:, 2 * level + 1], noise, generator)
            features = {level: x, **{k: v for k, v in features.items() if k == level - 1}}

        def colours(level: int) -> Tensor:
            block = self.blocks[level]
            assert isinstance(block, GeneratorBlock)
            return colours_of(features[level], block.rgb)

        picture = compose(finest, fade, colours)
        return repeat_pixels(picture, 2 ** (len(self.sizes) - 1 - finest)) if full_size else picture


class Discriminator(GrowingDiscriminator):
    """StyleGAN's discriminator: blurred halving, and one output per label of which the picture's own counts."""

    def __init__(
        self,
        c_dim: int = 0,
        resolution: int = 256,
        channels: int = 3,
        start: tuple[int, int] = (4, 4),  # height and width of the last block
        channel_base: int = 16384,
        channel_max: int = 512,
        widths: list[int] | None = None,  # feature maps of every block, smallest first; None for the rule
        mbstd_group: int = 4,  # samples per group of the minibatch deviation; 0 for the whole batch
        mbstd_channels: int = 1,  # its feature maps; 0 for none
        narrow_first: bool = False,  # a block's first convolution narrows, as in rosinality's port
        rgb_activate: bool = True,  # leaky ReLU after the colours' first layer
        lod: float = 0.0,
    ) -> None:
        super().__init__(
            "stylegan1", c_dim, resolution, channels, start, channel_base, channel_max, widths,
            mbstd_group, mbstd_channels, True, narrow_first, rgb_activate, 0, lod,
        )  # fmt: skip

    def forward(
        self,
        x: Tensor,  # [N, channels, H, W] in [-1, 1]; at full size or that of the level in use
        c: Tensor | None = None,  # [N, c_dim], one-hot; None means no label
    ) -> Tensor:
        """How real each picture looks: logits, [N, 1]."""
        scores = self.outputs(x)
        if not self.c_dim:
            return scores
        c = torch.zeros_like(scores) if c is None else c.to(scores.dtype)
        return (scores * c).sum(1, keepdim=True)
