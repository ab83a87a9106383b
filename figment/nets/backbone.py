"""The backbone of the head detector: feature maps at strides 4, 8, 16 and 32.

The detector and the embedding of crops are built on it; the projected discriminator looks through a frozen copy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Conv(nn.Sequential):
    """Convolution, batch normalization and, by default, ReLU."""

    def __init__(
        self,
        into: int,
        out: int,
        *,
        size: int = 3,  # of the kernel
        stride: int = 1,
        dilation: int = 1,
        relu: bool = True,  # False for no ReLU
        norm: bool = True,  # False: a bias instead of the normalization, as `fold_norms` leaves it
    ) -> None:
        padding = dilation * (size // 2)
        convolution = nn.Conv2d(into, out, size, stride, padding, dilation, bias=not norm)
        normalization = nn.BatchNorm2d(out) if norm else nn.Identity()
        super().__init__(convolution, normalization, *([nn.ReLU(inplace=True)] if relu else []))


class Block(nn.Module):
    """Residual block of two convolutions (He et al. 2015, arXiv 1512.03385)."""

    def __init__(
        self,
        width: int,
        dilation: int = 1,  # above 1 for a larger receptive field, for heads that fill the image
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.first = Conv(width, width, dilation=dilation, norm=norm)
        self.second = Conv(width, width, dilation=dilation, relu=False, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


class Backbone(nn.Module):
    """3x3 convolutions from the image down to stride 32, with few channels at high resolution."""

    def __init__(
        self,
        stem: Sequence[int] = (16, 32),  # channels at strides 2 and 4
        stages: Sequence[int] = (64, 96, 128),  # channels at strides 8, 16 and 32
        deep: int = 0,  # extra blocks at stride 32
        norm: bool = True,  # False for a network whose normalizations are folded into its convolutions
    ) -> None:
        super().__init__()
        one, two = stem
        eight, sixteen, thirty_two = stages
        self.stem = nn.Sequential(
            Conv(3, one, stride=2, norm=norm), Conv(one, two, stride=2, norm=norm), Conv(two, two, norm=norm)
        )
        self.down8 = nn.Sequential(Conv(two, eight, stride=2, norm=norm), Block(eight, norm=norm))
        self.down16 = nn.Sequential(Conv(eight, sixteen, stride=2, norm=norm), Block(sixteen, norm=norm))
        blocks = [Block(thirty_two, dilation, norm) for dilation in (1, 2, *(1 + i % 2 for i in range(deep)))]
        self.down32 = nn.Sequential(Conv(sixteen, thirty_two, stride=2, norm=norm), *blocks)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of images [N, 3, H, W] in [-1, 1]: [N, C, H/4, W/4] to [N, C, H/32, W/32]."""
        found = [self.stem(x)]
        for down in (self.down8, self.down16, self.down32):
            found.append(down(found[-1]))
        return found


def fold_norms(net: nn.Module) -> None:
    """Fold every batch normalization into its convolution in place, for faster inference in evaluation mode."""
    net.eval()
    for module in net.modules():
        if isinstance(module, Conv):
            convolution, norm = module[0], module[1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
