"""StyleGAN2: modulated convolutions, a skip generator and a residual discriminator (Karras et al. 2019, 2020)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from figment.nets import fused
from figment.nets.bilinear import convolve
from figment.nets.fastconv import conv_double, conv_same, lay_out
from figment.nets.layers import SMOOTH, SQRT2, Conv, Linear, enlarge, fir, full_precision, lrelu, minibatch_std
from figment.nets.levels import level_sizes, level_widths
from figment.nets.mapping import Mapping, StyleGenerator
from figment.nets.noise import Randomness, broadcast_noise


class StyledConv(nn.Module):
    """A 3x3 convolution whose weights are scaled by a style and brought back to unit variance, then noise.

    Computed as the same shared convolution for all samples: inputs are scaled by the style before it, outputs by the
    demodulation after it (Karras et al. 2019, section 2.2, equations 1 to 3).
    """

    noise: Tensor  # [H, W]

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        size: tuple[int, int],  # of the output
        up: bool = False,  # enlarge to twice the size
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise", torch.randn(size))
        self.up, self.clamp = up, clamp

    def forward(self, x: Tensor, w: Tensor, noise: str, generator: Randomness) -> Tensor:
        """[N, inputs, h, w] and [N, w_dim] to [N, outputs, H, W]."""
        # Modulate the inputs and find what brings the outputs back to unit variance, in full precision.
        with full_precision(x):
            style = self.affine(w.to(self.weight.dtype))  # [N, inputs]
            energy = style.square() @ self.weight.square().sum([2, 3]).t()  # [N, outputs]
            demodulate = (energy + 1e-8).rsqrt() * SQRT2
        together = fused.fuses(x) and self.clamp is None
        x = fused.scaled(x, style) if together else x * style.to(x.dtype)[:, :, None, None]

        # Enlarging: a strided transposed convolution, then the low-pass filter.
        x = (conv_double if self.up else conv_same)(x, self.weight)
        filter_too = self.up and together and fused.fuses_once(x)
        if self.up and not filter_too:
            x = fir(x, SMOOTH, pad=1, gain=4.0)
        maps = broadcast_noise(noise, self.noise, x.shape[0], generator)
        strength = None if maps is None else self.noise_strength * SQRT2
        if together:
            low_pass = (SMOOTH, 1, 4.0) if filter_too else ()
            return fused.filter_act(x, self.bias * SQRT2, demodulate, maps, strength, *low_pass)

        x = torch.addcmul(
            (self.bias * SQRT2).to(x.dtype)[None, :, None, None], x, demodulate.to(x.dtype)[:, :, None, None]
        )
        if maps is not None and strength is not None:
            x = x + (maps * strength).to(x.dtype)
        return lrelu(x, self.clamp)


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to colour, without demodulation."""

    def __init__(self, inputs: int, channels: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = 1 / math.sqrt(inputs)
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, inputs, H, W] and [N, w_dim] to [N, channels, H, W], always in full precision."""
        style = self.affine(w) * self.scale
        with full_precision(x):
            if fused.fuses(x) and self.clamp is None:
                return fused.mixed(x, self.weight[:, :, 0, 0] * style[:, None], self.bias)
            x = convolve(x.to(self.weight.dtype) * style[:, :, None, None], self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class GeneratorBlock(nn.Module):
    """One resolution of the generator: two styled convolutions (one in the first block), and its colours."""

    def __init__(
        self,
        inputs: int,  # 0 for the first block
        outputs: int,
        w_dim: int,
        size: tuple[int, int],
        channels: int,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.conv0 = StyledConv(inputs, outputs, w_dim, size, up=True, clamp=clamp) if inputs else None
        self.conv1 = StyledConv(outputs, outputs, w_dim, size, clamp=clamp)
        self.rgb = ToRGB(outputs, channels, w_dim, clamp)


class Generator(StyleGenerator):
    """The skip generator: every block adds its colours to the enlarged picture so far (2019, figure 7b)."""

    def __init__(
        self,
        z_dim: int = 512,
        c_dim: int = 0,  # labels; 0 for none
        w_dim: int = 512,
        resolution: int = 256,  # the longer side: the start's times a power of two
        channels: int = 3,  # 1 grey, 3 RGB, 4 RGBA
        start: tuple[int, int] = (4, 4),  # height and width of the constant input
        channel_base: int = 32768,  # feature maps times resolution
        channel_max: int = 512,  # feature maps of the widest blocks
        widths: list[int] | None = None,  # feature maps of every block, smallest first; None for the rule above
        map_depth: int = 8,  # mapping layers
        map_norm: str = "each",  # how z and the label are normalised, see Mapping
        map_lr_mul: float = 0.01,  # learning rate of the mapping relative to the rest
        clamp: float | None = None,  # limit of activations, 256 in stylegan2-ada for fp16; None for none
    ) -> None:
        super().__init__()
        self.config = {
            "family": "stylegan2", "z_dim": z_dim, "c_dim": c_dim, "w_dim": w_dim, "resolution": resolution,
            "channels": channels, "start": list(start), "channel_base": channel_base, "channel_max": channel_max,
            "widths": widths, "map_depth": map_depth, "map_norm": map_norm, "map_lr_mul": map_lr_mul, "clamp": clamp,
        }  # fmt: skip
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.resolution, self.channels = resolution, channels
        self.sizes = level_sizes(resolution, (start[0], start[1]))
        self.widths = level_widths(len(self.sizes), channel_base, channel_max, widths)
        self.num_layers = 2 * len(self.sizes)

        self.mapper = Mapping(z_dim, c_dim, w_dim, map_depth, map_lr_mul, map_norm)
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.const = nn.Parameter(torch.randn(self.widths[0], *self.sizes[0]))
        self.blocks = nn.ModuleList(
            GeneratorBlock(inputs, outputs, w_dim, size, channels, clamp)
            for inputs, outputs, size in zip([0, *self.widths], self.widths, self.sizes, strict=False)
        )

    def synthesis(self, w: Tensor, noise: str = "const", generator: Randomness = None) -> Tensor:
        """The pictures of `w` [N, num_layers, w_dim]: [N, channels, H, W] in about [-1, 1]."""
        w = w.to(self.w_avg.dtype)
        x = lay_out(self.const[None].expand(w.shape[0], -1, -1, -1))  # [N, C, h, w]
        picture: Tensor | None = None
        layer = 0
        for block in self.blocks:
            assert isinstance(block, GeneratorBlock)
            if block.conv0 is not None:
                x = block.conv0(x, w[:, layer], noise, generator)
                layer += 1
            x = block.conv1(x, w[:, layer], noise, generator)
            layer += 1
            # The colours share their latent with the next block's first layer.
            colours = block.rgb(x, w[:, layer])
            picture = colours if picture is None else enlarge(picture) + colours
        assert picture is not None
        return picture


class DiscriminatorBlock(nn.Module):
    """Two convolutions and a straight way around them, both at half the size and the sum at unit variance."""

    def __init__(self, inputs: int, outputs: int, clamp: float | None) -> None:
        super().__init__()
        self.conv0 = Conv(inputs, inputs, 3, clamp=clamp)
        self.conv1 = Conv(inputs, outputs, 3, down=True, clamp=clamp)
        self.skip = Conv(inputs, outputs, 1, down=True, bias=False, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H/2, W/2]."""
        around = self.skip(x, gain=1 / SQRT2)
        summed: Tensor = around + self.conv1(self.conv0(x), gain=1 / SQRT2)
        return summed


class Discriminator(nn.Module):
    """The residual discriminator (2019, figure 7c), with projection of labels as in stylegan2-ada."""

    def __init__(
        self,
        c_dim: int = 0,
        resolution: int = 256,
        channels: int = 3,
        start: tuple[int, int] = (4, 4),  # height and width of the last block
        channel_base: int = 32768,
        channel_max: int = 512,
        widths: list[int] | None = None,  # feature maps of every block, smallest first; None for the rule
        mbstd_group: int = 4,  # samples per group of the minibatch deviation; 0 for the whole batch
        mbstd_channels: int = 1,  # its feature maps; 0 for none
        map_depth: int = 8,  # layers that map the label
        label: str = "project",  # "project" as in stylegan2-ada, or "select": one output per label, as in TensorFlow
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "family": "stylegan2", "c_dim": c_dim, "resolution": resolution, "channels": channels,
            "start": list(start), "channel_base": channel_base, "channel_max": channel_max, "widths": widths,
            "mbstd_group": mbstd_group, "mbstd_channels": mbstd_channels, "map_depth": map_depth, "label": label,
            "clamp": clamp,
        }  # fmt: skip
        self.c_dim, self.resolution, self.channels = c_dim, resolution, channels
        self.mbstd_group, self.mbstd_channels, self.label = mbstd_group, mbstd_channels, label
        self.sizes = level_sizes(resolution, (start[0], start[1]))
        self.widths = level_widths(len(self.sizes), channel_base, channel_max, widths)

        first = self.widths[0]
        self.from_rgb = Conv(channels, self.widths[-1], 1, clamp=clamp)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(larger, smaller, clamp)
            for smaller, larger in zip(self.widths, self.widths[1:], strict=False)
        )
        self.conv = Conv(first + mbstd_channels, first, 3, clamp=clamp)
        self.dense = Linear(first * self.sizes[0][0] * self.sizes[0][1], first, activate=True)
        outputs = 1 if not c_dim else c_dim if label == "select" else first
        self.out = Linear(first, outputs)
        projected = c_dim and label == "project"
        self.mapper = Mapping(0, c_dim, first, map_depth) if projected else None

    def forward(
        self,
        x: Tensor,  # [N, channels, H, W] in [-1, 1]
        c: Tensor | None = None,  # [N, c_dim]; None means no label
    ) -> Tensor:
        """How real each picture looks: logits, [N, 1]."""
        x = self.from_rgb(lay_out(x))
        for block in reversed(self.blocks):
            x = block(x)
        with full_precision(x):
            x = x.to(self.out.weight.dtype)
            if self.mbstd_channels:
                x = minibatch_std(x, self.mbstd_group or len(x), self.mbstd_channels)
            scores: Tensor = self.out(self.dense(self.conv(x).flatten(1)))
        if not self.c_dim:
            return scores

        # Labels: the score's projection on the mapped label (Miyato & Koyama 2018), or the label's own output.
        c = scores.new_zeros(len(x), self.c_dim) if c is None else c.to(scores.dtype)
        if self.mapper is None:
            return (scores * c).sum(1, keepdim=True)
        mapped: Tensor = self.mapper(None, c)
        return (scores * mapped).sum(1, keepdim=True) / math.sqrt(scores.shape[1])
