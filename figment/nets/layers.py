"""What all families are built of: equalised weights, leaky ReLU, small FIR filters, minibatch deviation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.nets.ops import FIR_1331, conv2d, conv2d_lrelu, full_precision, upfirdn2d

SQRT2 = math.sqrt(2.0)


def leaky_relu(
    x: Tensor,
    clamp: float | None = None,  # limit of the absolute value; None for no limit
) -> Tensor:
    """Leaky ReLU of slope 0.2, in place. Gains belong into the weights before it: lrelu(g x) = g leaky_relu(x)."""
    x = F.leaky_relu_(x, 0.2)
    return x if clamp is None else x.clamp(-clamp, clamp)


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Each vector of `x` [N, D] scaled to mean square 1: the pixel norm of Karras et al. 2017, section 4.2."""
    return x * (x.square().mean(1, keepdim=True) + eps).rsqrt()


class Linear(nn.Module):
    """A fully connected layer with equalised learning rate (Karras et al. 2017, section 4.1).

    Weights are stored with standard deviation `1 / lr_mul` and scaled by `lr_mul * gain / sqrt(inputs)` when used.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        lr_mul: float = 1.0,  # learning rate of this layer relative to the others
        bias_init: float = 0.0,  # the bias that training starts from, as the layer uses it
        activate: bool = False,  # leaky ReLU after it
        gain: float = 1.0,  # of the weights at run time
        act_gain: float = SQRT2,  # of the activation; StyleGAN has sqrt(2) in the weights and 1 here
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        # Arithmetic on weights without memory, as `fill` builds networks, would import torch's compiler: seconds.
        if not self.weight.is_meta:
            self.weight.data /= lr_mul
        self.bias = nn.Parameter(torch.full([outputs], bias_init / lr_mul))
        self.lr_mul = lr_mul
        self.activate = activate
        self.act_gain = act_gain if activate else 1.0
        self.gain = lr_mul * gain / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs] to [N, outputs]."""
        with full_precision(x):
            bias = self.bias * (self.lr_mul * self.act_gain)
            x = torch.addmm(bias, x.to(bias.dtype), (self.weight * (self.gain * self.act_gain)).t())
        return leaky_relu(x) if self.activate else x


class Conv2d(nn.Module):
    """A convolution with equalised learning rate; `down` blurs with StyleGAN2's filter and halves the picture."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        down: bool = False,
        bias: bool = True,
        activate: bool = True,  # leaky ReLU after it
        gain: float = 1.0,  # of the weights at run time
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
        """[N, inputs, H, W] to [N, outputs, H, W], or half that size; `gain` scales the result."""
        clamp = None if self.clamp is None else self.clamp * gain
        weight = self.weight * (self.scale * gain * self.act_gain)
        bias = None if self.bias is None else self.bias * (gain * self.act_gain)

        # Downsampling: a 1x1 kernel sees the halved image, a larger one blurs first and then strides.
        stride, padding = 1, self.kernel // 2
        if self.down and self.kernel == 1:
            x = upfirdn2d(x, FIR_1331, down=2, padding=1)
        elif self.down:
            x, stride, padding = upfirdn2d(x, FIR_1331, padding=self.kernel // 2 + 1), 2, 0
        if self.activate:
            return conv2d_lrelu(x, weight, bias, stride, padding, clamp)
        x = conv2d(x, weight, bias, stride, padding)
        return x if clamp is None else x.clamp(-clamp, clamp)


def rgb_output(x: Tensor, layer: Conv2d) -> Tensor:
    """The picture [N, channels, H, W] that a generator's last layer makes of features `x`, never in bfloat16."""
    with full_precision(x):
        picture: Tensor = layer(x.to(layer.weight.dtype))
    return picture


def minibatch_stddev(
    x: Tensor,  # [N, C, H, W]
    group: int = 4,  # samples compared with one another; all of them where the batch is smaller
    channels: int = 1,  # statistics appended as feature maps
) -> Tensor:
    """`x` with its deviation across each group appended: [N, C + channels, H, W] (Karras et al. 2017, section 3).

    Sample n belongs to group n mod (N / group), as in the original programs. A batch that `group` does not divide
    is compared in the largest groups that do.
    """
    n, c, h, w = x.shape
    size = max(k for k in range(1, min(group, n) + 1) if n % k == 0)
    y = x.reshape(size, -1, channels, c // channels, h, w)  # [size, groups, channels, C / channels, H, W]
    y = y - y.mean(0)
    y = (y.square().mean(0) + 1e-8).sqrt().mean([2, 3, 4])  # [groups, channels]
    y = y.repeat(size, 1)[:, :, None, None].expand(-1, -1, h, w)
    return torch.cat([x, y.to(x.dtype)], 1)


def block_sizes(
    resolution: int,  # the longer side of the picture
    start: Sequence[int],  # height and width of the first block
) -> list[tuple[int, int]]:
    """Height and width of every block from `start` up to `resolution`, each twice the one before."""
    longest = max(start)
    doublings = round(math.log2(resolution / longest)) if resolution >= longest else -1
    if doublings < 0 or longest << doublings != resolution:
        raise ValueError(f"resolution {resolution}: must be {longest} times a power of two")
    return [(start[0] << k, start[1] << k) for k in range(doublings + 1)]


def block_channels(
    levels: int,  # blocks
    base: int,  # feature maps times resolution, where `most` is no limit
    most: int,  # feature maps of the widest blocks
    given: Sequence[int] | None = None,  # feature maps of every block, the smallest first; None for the rule
) -> list[int]:
    """Feature maps of every block, the smallest block first."""
    if given is not None:
        if len(given) != levels:
            raise ValueError(f"widths {given}: must name {levels} blocks")
        return list(given)
    return [max(1, min(base // (4 << k), most)) for k in range(levels)]
