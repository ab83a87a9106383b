"""The StyleGAN2 of lucidrains' stylegan2-pytorch: bilinear enlarging, one style per level, one noise map for all."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.nets.layers import full_precision
from figment.nets.levels import level_sizes, level_widths
from figment.nets.mapping import StyleGenerator
from figment.nets.noise import Randomness, broadcast_noise, random_maps


def soften(x: Tensor) -> Tensor:
    """`x` [N, C, H, W] under the filter 1 2 1, its borders mirrored."""
    line = x.new_tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, groups=x.shape[1])


def bilinear(x: Tensor) -> Tensor:
    """`x` at twice its size."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class StyleMapper(nn.Module):
    """Fully connected layers from z, scaled to length 1, to w; weights and biases count `lr_mul`."""

    def __init__(self, dim: int, depth: int, lr_mul: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(depth))
        self.lr_mul = lr_mul

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """[N, dim] to [N, dim]."""
        weight = next(self.parameters())
        x = F.normalize(z.to(weight.dtype), dim=1)
        with full_precision(x):
            for layer in self.layers:
                assert isinstance(layer, nn.Linear)
                x = F.leaky_relu(F.linear(x, layer.weight * self.lr_mul, layer.bias * self.lr_mul), 0.2)
        return x


class ModulatedConv(nn.Module):
    """A convolution whose inputs are scaled by 1 + style and whose outputs come back to unit norm."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, kernel: int, demodulate: bool = True) -> None:
        super().__init__()
        self.style = nn.Linear(w_dim, inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * math.sqrt(2 / inputs) / kernel)
        self.padding, self.demodulate = kernel // 2, demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, inputs, H, W] and [N, w_dim] to [N, outputs, H, W]."""
        with full_precision(x):
            style: Tensor = self.style(w) + 1  # [N, inputs]
            if not self.demodulate:  # colours
                x = x.to(self.weight.dtype) * style[:, :, None, None]
                return F.conv2d(x, self.weight, padding=self.padding)
            energy: Tensor = style.square() @ self.weight.square().sum([2, 3]).t()  # [N, outputs]
        x = F.conv2d(x * style.to(x.dtype)[:, :, None, None], self.weight, padding=self.padding)
        return x * (energy + 1e-8).rsqrt().to(x.dtype)[:, :, None, None]


class GeneratorBlock(nn.Module):
    """One level: two modulated convolutions with noise, and colours added to the picture so far."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, channels: int) -> None:
        super().__init__()
        self.conv1 = ModulatedConv(inputs, outputs, w_dim, 3)
        self.noise1 = nn.Linear(1, outputs)
        self.conv2 = ModulatedConv(outputs, outputs, w_dim, 3)
        self.noise2 = nn.Linear(1, outputs)
        self.rgb = ModulatedConv(outputs, channels, w_dim, 1, demodulate=False)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]."""
        for conv, affine in ((self.conv1, self.noise1), (self.conv2, self.noise2)):
            x = conv(x, w)
            if noise is None:
                x = x + affine.bias[:, None, None]
            else:
                # The program lays its noise on its side: rows of the map are columns of the picture.
                maps = noise[:, :, : x.shape[2], : x.shape[3]].transpose(2, 3)
                x = torch.addcmul(x + affine.bias[:, None, None], affine.weight[:, :, None], maps)
            x = F.leaky_relu(x, 0.2)
        return x


class Generator(StyleGenerator):
    """The generator; `num_layers` counts levels, each with one style."""

    noise: Tensor  # [H, W], uniform in [0, 1]

    def __init__(
        self,
        z_dim: int = 512,
        resolution: int = 128,
        channels: int = 3,
        widths: list[int] | None = None,  # feature maps of every level, smallest first; None for 16 x 2^k
        map_depth: int = 8,
        map_lr_mul: float = 0.1,
        no_const: bool = False,  # the first block from the mean style instead of a constant
    ) -> None:
        super().__init__()
        self.config = {
            "family": "lucidrains", "z_dim": z_dim, "resolution": resolution, "channels": channels, "widths": widths,
            "map_depth": map_depth, "map_lr_mul": map_lr_mul, "no_const": no_const,
        }  # fmt: skip
        self.z_dim, self.c_dim, self.w_dim = z_dim, 0, z_dim
        self.resolution, self.channels = resolution, channels
        self.sizes = level_sizes(resolution, (4, 4))
        self.widths = level_widths(len(self.sizes), 32 * resolution, 512, widths)
        self.num_layers = len(self.sizes)
        first = self.widths[0]

        self.mapper: Any = StyleMapper(z_dim, map_depth, map_lr_mul)
        self.register_buffer("w_avg", torch.zeros(z_dim))
        self.register_buffer("noise", torch.rand(resolution, resolution))
        self.const = None if no_const else nn.Parameter(torch.randn(first, 4, 4))
        self.to_const = nn.ConvTranspose2d(z_dim, first, 4, bias=False) if no_const else None
        self.conv = nn.Conv2d(first, first, 3, padding=1)
        self.blocks = nn.ModuleList(
            GeneratorBlock(a, b, z_dim, channels) for a, b in zip([first, *self.widths], self.widths, strict=False)
        )

    def synthesis(self, w: Tensor, noise: str = "const", generator: Randomness = None) -> Tensor:
        """The pictures of `w` [N, num_layers, w_dim]: [N, channels, H, W], 0 to 1 in the program, -1 to 1 here."""
        w = w.to(self.w_avg.dtype)
        maps = self._maps(noise, w.shape[0], generator)
        if self.const is not None:
            x = self.const[None].expand(w.shape[0], -1, -1, -1)
        else:
            assert self.to_const is not None
            x = self.to_const(w.mean(1)[:, :, None, None])
        x = self.conv(x)
        picture: Tensor | None = None
        for level, block in enumerate(self.blocks):
            assert isinstance(block, GeneratorBlock)
            x = bilinear(x) if level else x
            x = block(x, w[:, level], maps)
            colours = block.rgb(x, w[:, level])
            with full_precision(x):
                picture = colours if picture is None else colours + soften(bilinear(picture))
        assert picture is not None
        return picture * 2 - 1

    def _maps(self, kind: str, batch: int, generator: Randomness) -> Tensor | None:
        if kind == "random":
            shape = (batch, 1, self.resolution, self.resolution)
            return random_maps(shape, self.noise, generator, torch.rand)
        return broadcast_noise(kind, self.noise, batch)


class DiscriminatorBlock(nn.Module):
    """Two convolutions, halved by a third behind the soft filter, and a straight way around them."""

    def __init__(self, inputs: int, outputs: int, down: bool) -> None:
        super().__init__()
        self.skip = nn.Conv2d(inputs, outputs, 1, stride=2 if down else 1)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.down = nn.Conv2d(outputs, outputs, 3, padding=1, stride=2) if down else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H/2, W/2], or the same size."""
        around = self.skip(x)
        x = F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x), 0.2)), 0.2)
        if self.down is not None:
            x = self.down(soften(x))
        summed: Tensor = (x + around) / math.sqrt(2)
        return summed


class Discriminator(nn.Module):
    """The discriminator; `widths` are given from the picture on, the largest level first."""

    def __init__(
        self,
        resolution: int = 128,
        channels: int = 3,
        widths: list[int] | None = None,  # feature maps after every block; None for 64 x 2^k
    ) -> None:
        super().__init__()
        levels = len(level_sizes(resolution, (4, 4)))
        widths = widths or [min(64 << k, 512) for k in range(levels + 1)]
        self.config: dict[str, Any] = {
            "family": "lucidrains", "resolution": resolution, "channels": channels, "widths": widths,
        }  # fmt: skip
        self.c_dim, self.resolution, self.channels, self.widths = 0, resolution, channels, widths
        last = len(widths) - 1
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(a, b, down=k < last)
            for k, (a, b) in enumerate(zip([channels, *widths], widths, strict=False))
        )
        self.conv = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.out = nn.Linear(widths[-1] * 4, 1)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """How real each picture [N, channels, H, W] in [-1, 1] looks: logits, [N, 1]."""
        x = (x + 1) / 2
        for block in self.blocks:
            x = block(x)
        with full_precision(x):
            scores: Tensor = self.out(self.conv(x.to(self.out.weight.dtype)).flatten(1))
        return scores
