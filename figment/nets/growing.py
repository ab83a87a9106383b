"""What progressively grown networks share: `lod`, fused resampling convolutions, their discriminator, their schedule.

Source: Karras et al. 2017, arXiv 1710.10196, and Karras et al. 2018, arXiv 1812.04948.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.nets.base import Network, NetworkConfig
from figment.nets.blocks import BlockDiscriminator, BlockDiscriminatorConfig
from figment.nets.layers import (
    SQRT2,
    Conv2d,
    Linear,
    block_channels,
    block_sizes,
    leaky_relu,
)
from figment.nets.ops import FIR_121, conv2d, conv_transpose2d, upfirdn2d
from figment.nets.surgery import Surgery

# Schedules -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GrowthSchedule:
    """How a family grows while it trains, and the settings that follow the resolution in use."""

    initial: int
    """Resolution in pixels that training starts with."""
    minibatch: Mapping[int, int]
    """Images per step over all ranks, by resolution; larger resolutions take the largest entry's."""
    lr: Mapping[int, float]
    """Learning rate by resolution."""
    tick_kimg: Mapping[int, float]
    """Thousands of images per tick, by resolution."""
    training_kimg: float = 600.0
    """Thousands of images that a resolution is trained for before the next one fades in."""
    transition_kimg: float = 600.0
    """Thousands of images in which the next resolution fades in; 0 for no fade."""
    lr_base: float = 0.001
    """Learning rate of resolutions that `lr` leaves out."""
    tick_base: float = 160.0
    """Tick of resolutions that `tick_kimg` leaves out."""

    def first_lod(self, resolution: int) -> float:
        """Return the level of detail that training of this full size starts with.

        A size that is not a power of two starts at the first block of at least `initial`.
        """
        return float(max(math.floor(math.log2(resolution / self.initial)), 0))


MINIBATCHES = {
    1: {4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 4, 1024: 4},
    2: {4: 256, 8: 256, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 8, 1024: 8},
    4: {4: 512, 8: 256, 16: 128, 32: 64, 64: 32, 128: 16, 256: 16, 512: 16, 1024: 16},
    8: {4: 512, 8: 256, 16: 128, 32: 64, 64: 32, 128: 32, 256: 32, 512: 32, 1024: 32},
}
"""Images per step by number of GPUs and resolution, as in StyleGAN's train.py; ProGAN's are the same."""

TICKS = {4: 160, 8: 140, 16: 120, 32: 100, 64: 80, 128: 60, 256: 40, 512: 30, 1024: 20}
"""Thousands of images per tick by resolution, as in StyleGAN."""


def listed_gpus(gpus: int) -> int:
    """Return the largest listed number of GPUs, 1, 2, 4 or 8, that is not above `gpus`."""
    return max(known for known in MINIBATCHES if known <= gpus)


# Networks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GrowingConfig(NetworkConfig):
    """What every network that grows is built from."""

    start: tuple[int, int] = (4, 4)
    """Height and width of the smallest block; the resolution is its longer side times a power of two."""
    channel_base: int = 16384
    """Feature maps times resolution: a block at resolution r has channel_base / r."""
    channel_max: int = 512
    """Most feature maps of any block."""
    widths: tuple[int, ...] | None = None
    """Feature maps of every block, smallest first; None for the rule above."""
    lod: float = 0.0
    """Level of detail: 0 is full size, each whole step halves it, a fraction fades between two sizes."""


class Growing(Network):
    """A network that uses more and more of its blocks while it trains (Karras et al. 2017, section 2)."""

    config: GrowingConfig
    sizes: list[tuple[int, int]]  # of every block, the smallest first

    def __init__(self, config: GrowingConfig) -> None:
        super().__init__(config)
        self.sizes = block_sizes(config.resolution, config.start)
        self.size = self.sizes[-1]
        self.widths = block_channels(len(self.sizes), config.channel_base, config.channel_max, config.widths)
        self.lod = config.lod

    @property
    def lod(self) -> float:
        """Level of detail in use. It is part of the configuration, and so of model files."""
        return self.config.lod

    @lod.setter
    def lod(self, value: float) -> None:
        clamped = min(max(float(value), 0.0), float(len(self.sizes) - 1))
        self.config = dataclasses.replace(self.config, lod=clamped)

    def finest(self) -> tuple[int, float]:
        """Return the finest block in use, and its fade towards the next coarser one: 0 (none) to below 1."""
        steps = math.floor(self.lod)
        return len(self.sizes) - 1 - steps, self.lod - steps


def resampling_kernel(weight: Tensor) -> Tensor:
    """Return the kernel [out, in, 4, 4] that does at stride 2 what `weight` [out, in, 3, 3] does at twice the size.

    Nearest-neighbor upsampling before a 3x3 kernel, or a 2x2 sum after it, equals that kernel at four offsets.
    """
    weight = F.pad(weight, (1, 1, 1, 1))
    return weight[..., 1:, 1:] + weight[..., :-1, 1:] + weight[..., 1:, :-1] + weight[..., :-1, :-1]


def upsample_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Upsample `x` to nearest neighbors and convolve it with the 3x3 kernel `weight` in one step: [N, K, 2H, 2W].

    The original programs fuse the two from 128 pixels on and store such kernels turned by 180 degrees. The readers of
    their files turn them back, so that here a kernel always has the orientation of an ordinary convolution.
    """
    x = conv_transpose2d(x, resampling_kernel(weight.flip(2, 3)).transpose(0, 1), stride=2, padding=1)
    return x if bias is None else x + bias[:, None, None]


def conv_downsample(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve `x` with the 3x3 kernel `weight` and average 2x2 pixels in one step: [N, C, H/2, W/2]."""
    return conv2d(x, resampling_kernel(weight) * 0.25, bias, stride=2, padding=1)


def repeat_pixels(x: Tensor, times: int) -> Tensor:
    """Return `x` [N, C, H, W] with every pixel repeated `times` in both directions."""
    return x if times == 1 else F.interpolate(x, scale_factor=times, mode="nearest")


def fade(
    block: int,  # the finest block in use
    share: float,  # fade towards the next coarser one
    rgb: Callable[[int], Tensor],  # returns the image of a block
) -> Tensor:
    """Return the image of a growing generator, at the size of its finest block."""
    image = rgb(block)
    if share > 0 and block > 0:
        image = torch.lerp(image, repeat_pixels(rgb(block - 1), 2), share)
    return image


@dataclass(frozen=True)
class GrowingDiscriminatorConfig(GrowingConfig, BlockDiscriminatorConfig):
    """What ProGAN's and StyleGAN's discriminators are built from."""

    narrow_first: bool = False
    """A block's first convolution changes the number of feature maps, not its second (rosinality's StyleGAN)."""
    rgb_activate: bool = True
    """Leaky ReLU after the from-RGB layers."""


class DownsamplingBlock(nn.Module):
    """One resolution of the discriminator: two convolutions, the second at half the size."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        blur: bool,  # low-pass filter before downsampling
        narrow_first: bool,  # the first convolution changes the number of feature maps
    ) -> None:
        super().__init__()
        between = outputs if narrow_first else inputs
        self.conv0 = Conv2d(inputs, between, 3, gain=SQRT2, act_gain=1.0)
        self.conv1 = Conv2d(between, outputs, 3, gain=SQRT2, act_gain=1.0)
        self.blur = blur

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H/2, W/2]."""
        x = self.conv0(x)
        if self.blur:
            x = upfirdn2d(x, FIR_121, padding=1)
        return leaky_relu(conv_downsample(x, self.conv1.weight * self.conv1.scale, self.conv1.bias))


class GrowingDiscriminator(Growing, BlockDiscriminator):
    """The discriminator of ProGAN and StyleGAN (2017, table 2; 2018, appendix C)."""

    BLUR = False  # low-pass filter before downsampling
    config: GrowingDiscriminatorConfig

    def __init__(
        self,
        config: GrowingDiscriminatorConfig,
        outputs: int,  # of the last layer
    ) -> None:
        super().__init__(config)
        self.from_rgb: nn.ModuleList = nn.ModuleList(
            Conv2d(config.channels, width, 1, activate=config.rgb_activate, gain=SQRT2, act_gain=1.0)
            for width in self.widths
        )
        self.blocks = nn.ModuleList(
            DownsamplingBlock(larger, smaller, self.BLUR, config.narrow_first)
            for smaller, larger in zip(self.widths, self.widths[1:], strict=False)
        )
        first, area = self.widths[0], self.sizes[0][0] * self.sizes[0][1]
        self.conv = Conv2d(first + config.mbstd_channels, first, 3, gain=SQRT2, act_gain=1.0)
        self.dense = Linear(first * area, first, activate=True, gain=SQRT2, act_gain=1.0)
        self.out = Linear(first, outputs)

    def block_outputs(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the from-RGB features, then the feature maps behind every block in use."""
        # The image at the size of the finest block in use, and at half that size while blocks fade.
        block, share = self.finest()
        if tuple(x.shape[2:]) != self.sizes[block]:
            x = F.avg_pool2d(x, 2 ** (len(self.sizes) - 1 - block))
        features = self.from_rgb[block](x)
        yield features
        if block > 0:
            features = self.blocks[block - 1](features)
            if share > 0:
                coarser = self.from_rgb[block - 1](F.avg_pool2d(x, 2))
                features = torch.lerp(features, coarser, share)
            yield features
            for smaller in reversed(self.blocks[: block - 1]):
                features = smaller(features)
                yield features


class GrowingSurgery(Surgery):
    """Changes of networks that grow: new blocks hide behind `lod`."""

    all_rgb_visible = True

    def resized_settings(self, settings: dict[str, Any], steps: int) -> dict[str, Any]:
        """Return the level of detail that keeps the finest block in use."""
        return {"lod": max(settings["lod"] + steps, 0.0)}
