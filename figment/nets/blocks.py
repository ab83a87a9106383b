"""What discriminators made of blocks share: from-RGB layers, blocks, minibatch stddev and the last layers."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from figment.nets.base import Discriminator, DiscriminatorConfig
from figment.nets.layers import Conv2d, Linear, minibatch_stddev
from figment.nets.ops import full_precision


@dataclass(frozen=True)
class BlockDiscriminatorConfig(DiscriminatorConfig):
    """What a discriminator made of blocks is built from."""

    start: tuple[int, int] = (4, 4)
    """Height and width of the last block."""
    channel_base: int = 32768
    """Feature maps times resolution: a block at resolution r has channel_base / r."""
    channel_max: int = 512
    """Most feature maps of any block."""
    widths: tuple[int, ...] | None = None
    """Feature maps of every block, smallest first; None for the rule above."""
    mbstd_group: int = 4
    """Samples per group of the minibatch stddev; 0 for the whole batch."""
    mbstd_channels: int = 1
    """Feature maps of the minibatch stddev; 0 for none."""


class BlockDiscriminator(Discriminator):
    """From-RGB layers, blocks that halve the resolution, minibatch stddev, a convolution and two dense layers.

    A subclass sets `from_rgb`, `blocks` (the largest last), `conv`, `dense` and `out`.
    """

    config: BlockDiscriminatorConfig
    from_rgb: nn.Module
    blocks: nn.ModuleList
    conv: Conv2d
    dense: Linear
    out: Linear

    @abstractmethod
    def block_outputs(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the from-RGB features of images [N, C, H, W], then the feature maps behind every block in use."""

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps [N, K, h, w] behind every block in use, from fine to coarse."""
        return list(self.block_outputs(x))[1:]

    def outputs(self, x: Tensor) -> Tensor:
        """Return the last layer's outputs for images [N, C, H, W], float32 [N, outputs]."""
        features = deque(self.block_outputs(x), maxlen=1)[0]  # the others need not stay in memory
        with full_precision(features):
            features = features.to(self.out.weight.dtype)
            if self.config.mbstd_channels:
                group = self.config.mbstd_group or len(x)
                features = minibatch_stddev(features, group, self.config.mbstd_channels)
            outputs: Tensor = self.out(self.dense(self.conv(features).flatten(1)))
        return outputs

    def freeze_order(self) -> list[nn.Module]:
        """Return the layers from the image on."""
        return [self.from_rgb, *(layer for block in reversed(self.blocks) for layer in block.children())]

    @property
    def minibatch_group(self) -> int:
        """Samples that the minibatch stddev compares with one another: 0 for the whole batch, 1 if there is none."""
        return self.config.mbstd_group if self.config.mbstd_channels else 1
