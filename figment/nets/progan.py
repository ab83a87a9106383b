"""ProGAN: the progressively grown GAN without styles (Karras et al. 2017)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.nets.growing import GrowingDiscriminator, Grown, compose, double, repeat_pixels
from figment.nets.layers import SQRT2, Conv, colours_of, lrelu, normalise_rows
from figment.nets.levels import level_sizes, level_widths
from figment.nets.mapping import truncate
from figment.nets.noise import Randomness


class FirstBlock(nn.Module):
    """The latent as the first picture: a fully connected layer with one bias per feature map, and a convolution."""

    def __init__(self, latent: int, outputs: int, size: tuple[int, int], channels: int) -> None:
        super().__init__()
        area = size[0] * size[1]
        self.size = size
        self.weight = nn.Parameter(torch.randn(outputs * area, latent))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = SQRT2 / 4 / math.sqrt(latent)
        self.conv1 = Conv(outputs, outputs, 3, gain=SQRT2, act_gain=1.0)
        self.rgb = Conv(outputs, channels, 1, activate=False)

    def forward(self, z: Tensor) -> Tensor:
        """[N, latent] to [N, outputs, h, w]."""
        x = F.linear(z, self.weight * self.scale)
        x = x.reshape(z.shape[0], -1, *self.size)  # [N, C, h, w]
        x = normalise_rows(lrelu(x + self.bias[:, None, None]))
        return normalise_rows(self.conv1(x))


class DoublingBlock(nn.Module):
    """One resolution of the generator: two convolutions, the first at twice the size, pixel norm after each."""

    def __init__(self, inputs: int, outputs: int, channels: int) -> None:
        super().__init__()
        self.conv0 = Conv(inputs, outputs, 3, gain=SQRT2, act_gain=1.0)
        self.conv1 = Conv(outputs, outputs, 3, gain=SQRT2, act_gain=1.0)
        self.rgb = Conv(outputs, channels, 1, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, h, w] to [N, outputs, 2h, 2w]."""
        assert self.conv0.bias is not None
        x = double(x, self.conv0.weight * self.conv0.scale) + self.conv0.bias[:, None, None]
        return normalise_rows(self.conv1(normalise_rows(lrelu(x))))


class Generator(Grown):
    """The generator of 2017, table 2. Its "w" is the latent itself, with the label beside it, for one layer."""

    def __init__(
        self,
        z_dim: int = 512,
        c_dim: int = 0,
        resolution: int = 256,  # the longer side: the start's times a power of two
        channels: int = 3,
        start: tuple[int, int] = (4, 4),  # height and width of the first block
        channel_base: int = 16384,  # feature maps times resolution
        channel_max: int = 512,  # feature maps of the widest blocks
        widths: list[int] | None = None,  # feature maps of every block, smallest first; None for the rule above
        normalise: bool = True,  # the latent to unit mean square
        lod: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = {
            "family": "progan", "z_dim": z_dim, "c_dim": c_dim, "resolution": resolution, "channels": channels,
            "start": list(start), "channel_base": channel_base, "channel_max": channel_max, "widths": widths,
            "normalise": normalise,
        }  # fmt: skip
        self.sizes = level_sizes(resolution, (start[0], start[1]))
        self.widths = level_widths(len(self.sizes), channel_base, channel_max, widths)
        self.lod = lod
        self.z_dim, self.c_dim, self.w_dim, self.num_layers = z_dim, c_dim, z_dim + c_dim, 1
        self.resolution, self.channels, self.normalise = resolution, channels, normalise

        first = FirstBlock(self.w_dim, self.widths[0], self.sizes[0], channels)
        later = [DoublingBlock(a, b, channels) for a, b in zip(self.widths, self.widths[1:], strict=False)]
        self.blocks = nn.ModuleList([first, *later])

    @property
    def w_avg(self) -> Tensor:
        """The mean of the latent, [w_dim]: zero, so that truncation shrinks it."""
        weight = next(self.parameters())
        return weight.new_zeros(self.w_dim)

    def mapping(
        self,
        z: Tensor,  # [N, z_dim]
        c: Tensor | None = None,  # [N, c_dim]; None means no label
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,  # 0 switches truncation off; there is one layer only
    ) -> Tensor:
        """The latent with its label, [N, 1, z_dim + c_dim]."""
        w = z.to(self.w_avg.dtype)
        if self.c_dim:
            c = w.new_zeros(w.shape[0], self.c_dim) if c is None else c.to(w.dtype)
            w = torch.cat([w, c], 1)
        return truncate(w[:, None], self.w_avg, truncation_psi, truncation_cutoff)

    def update_w_avg(self, w: Tensor, beta: float = 0.995) -> None:
        """Nothing: the mean of a normal latent is zero."""

    def synthesis(
        self,
        w: Tensor,  # [N, 1, w_dim]
        noise: str = "const",  # there is none in this family
        generator: Randomness = None,
        full_size: bool = True,  # repeat pixels to the full size where `lod` is above 0
    ) -> Tensor:
        """The pictures of `w`: [N, channels, H, W] in about [-1, 1]."""
        x = w[:, 0].to(self.w_avg.dtype)
        x = normalise_rows(x) if self.normalise else x
        finest, fade = self.level()
        features: list[Tensor] = []
        for block in self.blocks[: finest + 1]:
            x = block(x)
            features = [*features[-1:], x]

        def colours(level: int) -> Tensor:
            block = self.blocks[level]
            assert isinstance(block, FirstBlock | DoublingBlock)
            return colours_of(features[level - finest - 1], block.rgb)

        picture = compose(finest, fade, colours)
        return repeat_pixels(picture, 2 ** (len(self.sizes) - 1 - finest)) if full_size else picture

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise: str = "const",
    ) -> Tensor:
        """Pictures of `z`, [N, channels, H, W] in about [-1, 1]."""
        return self.synthesis(self.mapping(z, c, truncation_psi, truncation_cutoff), noise=noise)


class Discriminator(GrowingDiscriminator):
    """ProGAN's discriminator; with labels it also guesses them, as AC-GAN does (Odena et al. 2016)."""

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
        narrow_first: bool = False,  # a block's first convolution narrows
        rgb_activate: bool = True,  # leaky ReLU after the colours' first layer
        lod: float = 0.0,
    ) -> None:
        super().__init__(
            "progan", c_dim, resolution, channels, start, channel_base, channel_max, widths,
            mbstd_group, mbstd_channels, False, narrow_first, rgb_activate, c_dim, lod,
        )  # fmt: skip

    def forward(
        self,
        x: Tensor,  # [N, channels, H, W] in [-1, 1]; at full size or that of the level in use
        c: Tensor | None = None,  # not needed for the score
    ) -> Tensor:
        """How real each picture looks: critic values, [N, 1]."""
        return self.outputs(x)[:, :1]

    def labels(self, x: Tensor) -> Tensor:
        """The guessed labels of pictures `x`, logits [N, c_dim]."""
        return self.outputs(x)[:, 1:]
