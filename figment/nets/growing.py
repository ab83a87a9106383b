"""What progressively grown networks share: `lod`, convolutions that double or halve, and their discriminator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.nets.layers import SOFT, SQRT2, Conv, Linear, fir, full_precision, lrelu, minibatch_std
from figment.nets.levels import level_sizes, level_widths


class Grown(nn.Module):
    """A network of blocks of which training uses more and more (Karras et al. 2017, section 2).

    `lod` 0 is the full size and each whole step halves it; a fraction fades between the two neighbouring sizes.
    """

    config: dict[str, Any]
    sizes: list[tuple[int, int]]  # of every level, the smallest first

    @property
    def lod(self) -> float:
        """The level of detail in use. It is part of the configuration and so of model files."""
        lod: float = self.config["lod"]
        return lod

    @lod.setter
    def lod(self, value: float) -> None:
        self.config["lod"] = min(max(float(value), 0.0), float(len(self.sizes) - 1))

    def level(self) -> tuple[int, float]:
        """The finest level in use, and how far it has faded towards the next coarser one (0 to below 1)."""
        steps = math.floor(self.lod)
        return len(self.sizes) - 1 - steps, self.lod - steps


def spread(weight: Tensor) -> Tensor:
    """The 4x4 kernel [out, in, 4, 4] that does at stride 2 what `weight` [out, in, 3, 3] does at twice the size.

    Nearest-neighbour enlarging before a 3x3 kernel, or 2x2 summing after it, is the same kernel at four offsets.
    """
    weight = F.pad(weight, (1, 1, 1, 1))
    return weight[..., 1:, 1:] + weight[..., :-1, 1:] + weight[..., 1:, :-1] + weight[..., :-1, :-1]


def double(x: Tensor, weight: Tensor) -> Tensor:
    """`x` enlarged to nearest neighbours, then under the 3x3 kernel `weight`, in one step: [N, C, 2H, 2W].

    The original programs fuse the two from 128 pixels on, with the kernel turned by 180 degrees; their files' readers
    turn it back, so that here it always has the orientation of an ordinary convolution.
    """
    return F.conv_transpose2d(x, spread(weight.flip(2, 3)).transpose(0, 1), stride=2, padding=1)


def halve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x` under the 3x3 kernel `weight`, then averaged over 2x2 pixels, in one step: [N, C, H/2, W/2]."""
    return F.conv2d(x, spread(weight) * 0.25, bias, stride=2, padding=1)


def repeat_pixels(x: Tensor, times: int) -> Tensor:
    """`x` [N, C, H, W] with every pixel repeated `times` in both directions."""
    return x if times == 1 else F.interpolate(x, scale_factor=times, mode="nearest")


def compose(
    level: int,  # the finest level in use
    fade: float,  # how far it has faded towards the next coarser one
    colours: Callable[[int], Tensor],  # the picture of a level
) -> Tensor:
    """The picture of a generator that is growing, at the size of its finest level."""
    picture = colours(level)
    if fade > 0 and level > 0:
        picture = torch.lerp(picture, repeat_pixels(colours(level - 1), 2), fade)
    return picture


class HalvingBlock(nn.Module):
    """One resolution of the discriminator: two convolutions, the second at half the size."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        blur: bool,  # a soft filter before halving
        narrow_first: bool,  # the first convolution changes the number of feature maps, and not the second
    ) -> None:
        super().__init__()
        between = outputs if narrow_first else inputs
        self.conv0 = Conv(inputs, between, 3, gain=SQRT2, act_gain=1.0)
        self.conv1 = Conv(between, outputs, 3, gain=SQRT2, act_gain=1.0)
        self.blur = blur

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H/2, W/2]."""
        x = self.conv0(x)
        if self.blur:
            x = fir(x, SOFT, pad=1)
        return lrelu(halve(x, self.conv1.weight * self.conv1.scale, self.conv1.bias))


class GrowingDiscriminator(Grown):
    """The discriminator of ProGAN and StyleGAN (2017, table 2; 2018, appendix C)."""

    def __init__(
        self,
        family: str,
        c_dim: int,
        resolution: int,
        channels: int,
        start: tuple[int, int],  # height and width of the last block
        channel_base: int,
        channel_max: int,
        widths: list[int] | None,  # feature maps of every block, smallest first; None for the rule
        mbstd_group: int,  # samples per group of the minibatch deviation; 0 for the whole batch
        mbstd_channels: int,  # its feature maps; 0 for none
        blur: bool,  # a soft filter before halving
        narrow_first: bool,  # see HalvingBlock
        rgb_activate: bool,  # leaky ReLU after the colours' first layer
        label_outputs: int,  # outputs for labels besides the score
        lod: float,
    ) -> None:
        super().__init__()
        self.sizes = level_sizes(resolution, (start[0], start[1]))
        self.widths = level_widths(len(self.sizes), channel_base, channel_max, widths)
        self.config = {
            "family": family, "c_dim": c_dim, "resolution": resolution, "channels": channels, "start": list(start),
            "channel_base": channel_base, "channel_max": channel_max, "widths": widths, "mbstd_group": mbstd_group,
            "mbstd_channels": mbstd_channels, "narrow_first": narrow_first, "rgb_activate": rgb_activate,
        }  # fmt: skip
        self.lod = lod
        self.c_dim, self.resolution, self.channels = c_dim, resolution, channels
        self.mbstd_group, self.mbstd_channels = mbstd_group, mbstd_channels

        self.from_rgb = nn.ModuleList(
            Conv(channels, width, 1, activate=rgb_activate, gain=SQRT2, act_gain=1.0) for width in self.widths
        )
        self.blocks = nn.ModuleList(
            HalvingBlock(larger, smaller, blur, narrow_first)
            for smaller, larger in zip(self.widths, self.widths[1:], strict=False)
        )
        first, area = self.widths[0], self.sizes[0][0] * self.sizes[0][1]
        self.conv = Conv(first + mbstd_channels, first, 3, gain=SQRT2, act_gain=1.0)
        self.dense = Linear(first * area, first, activate=True, gain=SQRT2, act_gain=1.0)
        self.out = Linear(first, max(c_dim, 1) if not label_outputs else 1 + label_outputs)

    def outputs(
        self,
        x: Tensor,  # [N, channels, H, W] at full size, or at the size of the level in use
    ) -> Tensor:
        """All outputs for pictures `x`, [N, 1 or more]."""
        # The picture at the size of the finest level in use, or half that where levels fade.
        level, fade = self.level()
        if tuple(x.shape[2:]) != self.sizes[level]:
            x = F.avg_pool2d(x, 2 ** (len(self.sizes) - 1 - level))
        features = self.from_rgb[level](x)
        if level > 0:
            features = self.blocks[level - 1](features)
            if fade > 0:
                coarser = self.from_rgb[level - 1](F.avg_pool2d(x, 2))
                features = torch.lerp(features, coarser, fade)
            for block in reversed(self.blocks[: level - 1]):
                features = block(features)

        with full_precision(x):
            features = features.to(self.out.weight.dtype)
            if self.mbstd_channels:
                features = minibatch_std(features, self.mbstd_group or len(x), self.mbstd_channels)
            scores: Tensor = self.out(self.dense(self.conv(features).flatten(1)))
        return scores
