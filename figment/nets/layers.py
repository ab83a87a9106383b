"""Layers that all families share: equalized weights, pixel norm, minibatch stddev; sizes and channels of the blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from figment.nets.ops import FIR_1331, conv2d, conv2d_lrelu, full_precision, upfirdn2d
from figment.nets.ops import leaky_relu as leaky_relu

SQRT2 = math.sqrt(2.0)


class Linear(nn.Module):
    """A fully connected layer with equalized learning rate (Karras et al. 2017, arXiv 1710.10196, section 4.1).

    Weights are stored with standard deviation `1 / lr_mul` and scaled by `lr_mul * gain / sqrt(inputs)` when used.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        lr_mul: float = 1.0,  # learning rate of this layer relative to the others
        bias_init: float = 0.0,  # initial bias, as the layer uses it
        activate: bool = False,  # apply a leaky ReLU
        gain: float = 1.0,  # of the weights when used
        act_gain: float = SQRT2,  # of the activation; StyleGAN has sqrt(2) in the weights and 1 here
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        # Checkpoints are read into networks on the meta device; arithmetic there would import torch's compiler.
        if not self.weight.is_meta:
            self.weight.data /= lr_mul
        self.bias = nn.Parameter(torch.full([outputs], bias_init / lr_mul))
        self.lr_mul = lr_mul
        self.activate = activate
        self.act_gain = act_gain if activate else 1.0
        self.gain = lr_mul * gain / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs] to [N, outputs], in the type of the weights, without autocast."""
        with full_precision(x):
            weight = self.weight * (self.gain * self.act_gain)
            bias = self.bias * (self.lr_mul * self.act_gain)
            x = torch.addmm(bias, x.to(bias.dtype), weight.t())
        return leaky_relu(x) if self.activate else x


class Conv2d(nn.Module):
    """A convolution with equalized learning rate; `down` filters with [1, 3, 3, 1] and halves the resolution."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        down: bool = False,
        bias: bool = True,
        activate: bool = True,  # apply a leaky ReLU
        gain: float = 1.0,  # of the weights when used
        act_gain: float = SQRT2,  # of the activation; StyleGAN has sqrt(2) in the weights and 1 here
        clamp: float | None = None,  # limit of the absolute activation, scaled with `gain`; None for no limit
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs * kernel * kernel)
        self.act_gain = act_gain if activate else 1.0
        self.kernel, self.down, self.activate, self.clamp = kernel, down, activate, clamp

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W], or half that size if `down`; `gain` scales the result."""
        weight = self.weight * (self.scale * gain * self.act_gain)
        bias = None if self.bias is None else self.bias * (gain * self.act_gain)
        clamp = None if self.clamp is None else self.clamp * gain

        # A 1x1 kernel sees the halved image; a larger one sees the filtered image and strides.
        stride, padding = 1, self.kernel // 2
        if self.down and self.kernel == 1:
            x = upfirdn2d(x, FIR_1331, down=2, padding=1)
        elif self.down:
            x, stride, padding = upfirdn2d(x, FIR_1331, padding=padding + 1), 2, 0
        if self.activate:
            return conv2d_lrelu(x, weight, bias, stride, padding, clamp)
        x = conv2d(x, weight, bias, stride, padding)
        return x if clamp is None else x.clamp(-clamp, clamp)


def rgb_output(x: Tensor, layer: Conv2d) -> Tensor:
    """Return the image [N, channels, H, W] of a generator's last layer from features `x`, without autocast."""
    with full_precision(x):
        rgb: Tensor = layer(x.to(layer.weight.dtype))
    return rgb


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale the vectors of `x` along axis 1 to mean square 1 (Karras et al. 2017, arXiv 1710.10196, section 4.2)."""
    return x * (x.square().mean(1, keepdim=True) + eps).rsqrt()


def stddev_group(
    batch: int,
    group: int,  # wanted size; 0 for the whole batch
) -> int:
    """Return how many samples the minibatch stddev compares: the largest divisor of `batch` up to `group`."""
    group = group or batch
    return max(size for size in range(1, min(group, batch) + 1) if batch % size == 0)


def minibatch_stddev(
    x: Tensor,  # [N, C, H, W]
    group: int = 4,  # samples compared with each other; the whole batch if it is smaller
    channels: int = 1,  # statistics appended as feature maps
) -> Tensor:
    """Append the standard deviation over each group to `x`: [N, C + channels, H, W] (arXiv 1710.10196, section 3).

    Sample n belongs to group n mod (N / group), as in the original programs. If `group` does not divide N, the largest
    smaller group that does is used.
    """
    n, c, h, w = x.shape
    size = stddev_group(n, group)
    y = x.reshape(size, -1, channels, c // channels, h, w)  # [size, groups, channels, C / channels, H, W]
    y = y - y.mean(0)
    y = (y.square().mean(0) + 1e-8).sqrt().mean([2, 3, 4])  # [groups, channels]
    y = y.repeat(size, 1)[:, :, None, None].expand(-1, -1, h, w)  # [N, channels, H, W]
    return torch.cat([x, y.to(x.dtype)], 1)


# ---------------------------------------------------------------------- blocks


def block_sizes(
    resolution: int,  # the longer side of the image, in pixels
    start: Sequence[int],  # height and width of the first block
) -> list[tuple[int, int]]:
    """Return height and width of every block from `start` up to `resolution`, each twice the previous one.

    Raises ValueError if `resolution` is not the longer side of `start` times a power of two.
    """
    longest = max(start)
    doublings = round(math.log2(resolution / longest)) if resolution >= longest else -1
    if doublings < 0 or longest << doublings != resolution:
        raise ValueError(f"resolution {resolution}: must be {longest} times a power of two")
    return [(start[0] << k, start[1] << k) for k in range(doublings + 1)]


def block_channels(
    blocks: int,  # number of blocks
    base: int,  # channels times resolution, up to `limit`
    limit: int,  # channels of the widest blocks
    given: Sequence[int] | None = None,  # channels of every block, smallest resolution first; None for the rule
) -> list[int]:
    """Return the channels of every block, smallest resolution first.

    Raises ValueError if `given` has another number of entries than `blocks`.
    """
    if given is not None:
        if len(given) != blocks:
            raise ValueError(f"widths {given}: must name {blocks} blocks")
        return list(given)
    return [max(1, min(base // (4 << k), limit)) for k in range(blocks)]
