"""Networks with the names that NVIDIA's PyTorch programs expect: stylegan2-ada-pytorch and the stylegan3 repository.

A pickle that figment writes for those programs carries this file as the source of its classes. It therefore imports
nothing but torch, and favors few lines over speed. Sources: Karras et al. 2019, arXiv 1912.04958; Karras et al. 2020,
arXiv 2006.06676; Karras et al. 2021, arXiv 2106.12423.

SPDX-License-Identifier: MIT
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

SQRT2 = math.sqrt(2)


def lrelu(x, gain=SQRT2, clamp=None):
    """Apply a leaky ReLU of slope 0.2, scale and clamp."""
    x = F.leaky_relu(x, 0.2) * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def normalize(x):
    """Scale the rows of `x` to mean square 1."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def filtered(x, taps, up=1, down=1, padding=(0, 0), gain=1.0):
    """Insert zeros, pad both axes alike, filter with `taps` [T] or [T, T], keep every `down`-th sample."""
    n, c, h, w = x.shape
    if up > 1:
        x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
    x = F.pad(x, (*padding, *padding)).flatten(0, 1)[:, None]  # [N C, 1, H, W]
    taps = taps.to(x.dtype)
    if taps.ndim == 1:
        x = F.conv2d(x, taps[None, None, :, None] * gain, stride=(down, 1))
        x = F.conv2d(x, taps[None, None, None, :], stride=(1, down))
    else:
        x = F.conv2d(x, taps[None, None] * gain, stride=down)
    return x.reshape(n, c, *x.shape[2:])


def modulated(x, weight, style, demodulate=True, transposed=False, padding=0):
    """Convolve each sample with the weights times its style (2019, equations 1 to 3)."""
    w = weight[None] * style[:, None, :, None, None]  # [N, K, C, h, w]
    if demodulate:
        w = w * (w.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    n, k, c = w.shape[:3]
    x = x.reshape(1, n * c, *x.shape[2:])
    if transposed:
        x = F.conv_transpose2d(x, w.transpose(1, 2).reshape(n * c, k, *w.shape[3:]), stride=2, groups=n)
    else:
        x = F.conv2d(x, w.reshape(n * k, c, *w.shape[3:]), padding=padding, groups=n)
    return x.reshape(n, k, *x.shape[2:])


def binomial():
    """Return the resampling filter of StyleGAN2, [4, 4]."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return line[:, None] * line


# --------------------------------------------------------------------------- mapping


class FullyConnectedLayer(nn.Module):
    """A dense layer with equalized learning rate."""

    def __init__(self, in_features, out_features, activation="linear", lr_multiplier=1.0):
        super().__init__()
        self.in_features, self.out_features, self.activation = in_features, out_features, activation
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.weight_gain, self.bias_gain = lr_multiplier / math.sqrt(in_features), lr_multiplier

    def forward(self, x):
        """Map [N, in_features] to [N, out_features]."""
        x = F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
        return lrelu(x) if self.activation == "lrelu" else x


class MappingNetwork(nn.Module):
    """Maps z and a label to w, or a label alone if `z_dim` is 0."""

    def __init__(self, z_dim, c_dim, w_dim, num_ws, num_layers=8, lr_multiplier=0.01, w_avg_beta=0.998):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.num_layers, self.w_avg_beta = num_layers, w_avg_beta
        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, w_dim)
        width = z_dim + (w_dim if c_dim > 0 else 0)
        for k in range(num_layers):
            setattr(self, f"fc{k}", FullyConnectedLayer(width if k == 0 else w_dim, w_dim, "lrelu", lr_multiplier))
        if num_ws is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False, **ignored):
        """Return w, [N, num_ws, w_dim], or [N, w_dim] without `num_ws`."""
        parts = [normalize(z.float())] if self.z_dim > 0 else []
        if self.c_dim > 0:
            parts.append(normalize(self.embed(c.float())))
        x = torch.cat(parts, 1)
        for k in range(self.num_layers):
            x = getattr(self, f"fc{k}")(x)
        if self.num_ws is None:
            return x
        if update_emas:
            self.w_avg.copy_(x.detach().mean(0).lerp(self.w_avg, self.w_avg_beta))
        x = x[:, None].repeat(1, self.num_ws, 1)
        if truncation_psi != 1:
            cutoff = self.num_ws if truncation_cutoff is None else truncation_cutoff
            x[:, :cutoff] = self.w_avg.lerp(x[:, :cutoff], truncation_psi)
        return x


class Generator(nn.Module):
    """Draws images from z; `synthesis` is a network of StyleGAN2 or StyleGAN3."""

    def __init__(self, z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs, synthesis):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        self.synthesis, self.num_ws = synthesis, synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, **mapping_kwargs)

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False, **synthesis_kwargs):
        """Return images, [N, C, H, W] in about [-1, 1]."""
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff, update_emas=update_emas)
        return self.synthesis(ws, update_emas=update_emas, **synthesis_kwargs)


# --------------------------------------------------------------------------- StyleGAN2


class SynthesisLayer(nn.Module):
    """A modulated convolution of StyleGAN2 with noise, bias and a leaky ReLU."""

    def __init__(self, in_channels, out_channels, w_dim, size, up=1, conv_clamp=None):
        super().__init__()
        self.in_channels, self.out_channels, self.w_dim, self.resolution = in_channels, out_channels, w_dim, max(size)
        self.up, self.use_noise, self.activation, self.conv_clamp = up, True, "lrelu", conv_clamp
        self.padding, self.act_gain = 1, SQRT2
        self.affine = FullyConnectedLayer(w_dim, in_channels)
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.zeros(size))
        self.register_buffer("resample_filter", binomial())

    def forward(self, x, w, noise_mode="random"):
        """Map [N, in_channels, h, w] and [N, w_dim] to [N, out_channels, H, W]."""
        x = modulated(x, self.weight, self.affine(w), transposed=self.up == 2, padding=1)
        if self.up == 2:
            x = filtered(x, self.resample_filter, padding=(1, 1), gain=4.0)
        if noise_mode == "random":
            x = x + torch.randn_like(x[:, :1]) * self.noise_strength
        elif noise_mode == "const":
            x = x + self.noise_const * self.noise_strength
        return lrelu(x + self.bias[:, None, None], clamp=self.conv_clamp)


class ToRGBLayer(nn.Module):
    """A modulated 1x1 convolution to RGB, without demodulation."""

    def __init__(self, in_channels, out_channels, w_dim, conv_clamp=None):
        super().__init__()
        self.in_channels, self.out_channels, self.w_dim, self.conv_clamp = in_channels, out_channels, w_dim, conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels)
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x, w):
        """Map [N, in_channels, H, W] and [N, w_dim] to [N, out_channels, H, W]."""
        x = modulated(x, self.weight, self.affine(w) * self.weight_gain, demodulate=False) + self.bias[:, None, None]
        return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)


class SynthesisBlock(nn.Module):
    """One resolution of StyleGAN2's skip generator."""

    def __init__(self, in_channels, out_channels, w_dim, size, img_channels, conv_clamp=None):
        super().__init__()
        self.in_channels, self.w_dim, self.resolution, self.img_channels = in_channels, w_dim, max(size), img_channels
        self.architecture, self.num_conv, self.num_torgb = "skip", 2 if in_channels else 1, 1
        self.register_buffer("resample_filter", binomial())
        if in_channels:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim, size, 2, conv_clamp)
        else:
            self.const = nn.Parameter(torch.zeros(out_channels, *size))
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, size, 1, conv_clamp)
        self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, conv_clamp)

    def forward(self, x, img, ws, noise_mode="random"):
        """Return feature maps and image at this resolution; `ws` has one latent for each layer."""
        if self.in_channels:
            x = self.conv0(x, ws[:, 0], noise_mode)
        else:
            x = self.const[None].expand(ws.shape[0], -1, -1, -1)
        x = self.conv1(x, ws[:, self.num_conv - 1], noise_mode)
        rgb = self.torgb(x, ws[:, self.num_conv])
        if img is None:
            return x, rgb
        return x, filtered(img, self.resample_filter, up=2, padding=(2, 1), gain=4.0) + rgb


class SynthesisNetwork(nn.Module):
    """StyleGAN2's skip generator: w to images."""

    def __init__(self, w_dim, img_resolution, img_channels, widths, start=(4, 4), conv_clamp=None):
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        self.block_resolutions = [4 << k for k in range(len(widths))]
        self.num_fp16_res, self.num_ws = 0, 2 * len(widths)
        for k, resolution in enumerate(self.block_resolutions):
            before, size = widths[k - 1] if k else 0, (start[0] << k, start[1] << k)
            setattr(self, f"b{resolution}", SynthesisBlock(before, widths[k], w_dim, size, img_channels, conv_clamp))

    def forward(self, ws, noise_mode="random", **ignored):
        """Return the images of `ws` [N, num_ws, w_dim]."""
        x = img = None
        first = 0
        for resolution in self.block_resolutions:
            block = getattr(self, f"b{resolution}")
            x, img = block(x, img, ws[:, first : first + block.num_conv + 1].float(), noise_mode)
            first += block.num_conv
        return img


class Conv2dLayer(nn.Module):
    """A convolution with equalized learning rate."""

    def __init__(self, in_channels, out_channels, kernel_size, bias=True, activation="linear", down=1, conv_clamp=None):
        super().__init__()
        self.in_channels, self.out_channels, self.activation = in_channels, out_channels, activation
        self.up, self.down, self.conv_clamp, self.padding = 1, down, conv_clamp, kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.act_gain = SQRT2 if activation == "lrelu" else 1.0
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", binomial())

    def forward(self, x, gain=1.0):
        """Map [N, in_channels, H, W] to [N, out_channels, H / down, W / down]."""
        weight = self.weight * self.weight_gain
        if self.down == 2:
            x = filtered(x, self.resample_filter, padding=(self.padding + 1, self.padding + 1))
            x = F.conv2d(x, weight, self.bias, stride=2)
        else:
            x = F.conv2d(x, weight, self.bias, padding=self.padding)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        if self.activation == "lrelu":
            return lrelu(x, SQRT2 * gain, clamp)
        return x * gain if clamp is None else (x * gain).clamp(-clamp, clamp)


class DiscriminatorBlock(nn.Module):
    """Two convolutions and a skip connection, both at half the size."""

    def __init__(self, in_channels, tmp_channels, out_channels, resolution, img_channels, conv_clamp=None):
        super().__init__()
        self.in_channels, self.resolution, self.img_channels = in_channels, resolution, img_channels
        self.architecture, self.num_layers = "resnet", 3 if in_channels else 4
        self.register_buffer("resample_filter", binomial())
        if not in_channels:
            self.fromrgb = Conv2dLayer(img_channels, tmp_channels, 1, activation="lrelu", conv_clamp=conv_clamp)
        self.conv0 = Conv2dLayer(tmp_channels, tmp_channels, 3, activation="lrelu", conv_clamp=conv_clamp)
        self.conv1 = Conv2dLayer(tmp_channels, out_channels, 3, activation="lrelu", down=2, conv_clamp=conv_clamp)
        self.skip = Conv2dLayer(tmp_channels, out_channels, 1, bias=False, down=2)

    def forward(self, x, img):
        """Return feature maps at half the size; the first block takes the image."""
        if not self.in_channels:
            x = self.fromrgb(img.float())
        return self.skip(x, 1 / SQRT2) + self.conv1(self.conv0(x), 1 / SQRT2)


class MinibatchStdLayer(nn.Module):
    """Appends the standard deviation over groups of samples."""

    def __init__(self, group_size, num_channels):
        super().__init__()
        self.group_size, self.num_channels = group_size, num_channels

    def forward(self, x):
        """Map [N, C, H, W] to [N, C + num_channels, H, W]."""
        n, c, h, w = x.shape
        size = n if self.group_size is None else min(self.group_size, n)
        y = x.reshape(size, -1, self.num_channels, c // self.num_channels, h, w)
        y = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean([2, 3, 4])  # [groups, num_channels]
        return torch.cat([x, y.repeat(size, 1)[:, :, None, None].expand(-1, -1, h, w)], 1)


class DiscriminatorEpilogue(nn.Module):
    """The last layers of the discriminator, and the projection on a mapped label."""

    def __init__(self, in_channels, cmap_dim, size, img_channels, mbstd_group_size, mbstd_num_channels, conv_clamp):
        super().__init__()
        self.in_channels, self.cmap_dim, self.resolution = in_channels, cmap_dim, max(size)
        self.img_channels, self.architecture = img_channels, "resnet"
        self.mbstd = MinibatchStdLayer(mbstd_group_size, mbstd_num_channels) if mbstd_num_channels else None
        self.conv = Conv2dLayer(
            in_channels + mbstd_num_channels, in_channels, 3, activation="lrelu", conv_clamp=conv_clamp
        )
        self.fc = FullyConnectedLayer(in_channels * size[0] * size[1], in_channels, "lrelu")
        self.out = FullyConnectedLayer(in_channels, cmap_dim or 1)

    def forward(self, x, cmap):
        """Return logits, [N, 1]."""
        x = self.conv(x if self.mbstd is None else self.mbstd(x))
        x = self.out(self.fc(x.flatten(1)))
        return (x * cmap).sum(1, keepdim=True) / math.sqrt(self.cmap_dim) if self.cmap_dim else x


class Discriminator(nn.Module):
    """StyleGAN2's residual discriminator."""

    def __init__(self, c_dim, img_resolution, img_channels, widths, start, mapping_kwargs, mbstd, conv_clamp=None):
        super().__init__()
        self.c_dim, self.img_resolution, self.img_channels = c_dim, img_resolution, img_channels
        self.img_resolution_log2 = len(widths) + 1
        self.block_resolutions = [4 << k for k in range(len(widths) - 1, 0, -1)]
        for k, resolution in zip(range(len(widths) - 1, 0, -1), self.block_resolutions):  # noqa: B905
            before = 0 if k == len(widths) - 1 else widths[k]
            block = DiscriminatorBlock(before, widths[k], widths[k - 1], resolution, img_channels, conv_clamp)
            setattr(self, f"b{resolution}", block)
        cmap_dim = widths[0] if c_dim else 0
        if c_dim:
            self.mapping = MappingNetwork(0, c_dim, cmap_dim, None, w_avg_beta=None, **mapping_kwargs)
        self.b4 = DiscriminatorEpilogue(widths[0], cmap_dim, start, img_channels, *mbstd, conv_clamp)

    def forward(self, img, c, **ignored):
        """Return logits, [N, 1]."""
        x = None
        for resolution in self.block_resolutions:
            x = getattr(self, f"b{resolution}")(x, img)
        return self.b4(x, self.mapping(None, c) if self.c_dim else None)


class NoDiscriminator(nn.Module):
    """Stands where a program expects a discriminator, in a file of a model without one."""

    def forward(self, img, c, **ignored):
        """Raise RuntimeError."""
        raise RuntimeError("this file has no discriminator")


# --------------------------------------------------------------------------- StyleGAN3


class AliasFreeInput(nn.Module):
    """The Fourier features of StyleGAN3, with the transforms of w and of the user (2021, appendix F)."""

    def __init__(self, w_dim, channels, size, sampling_rate, bandwidth):
        super().__init__()
        self.w_dim, self.channels, self.size = w_dim, channels, [size, size]
        self.sampling_rate, self.bandwidth = sampling_rate, bandwidth
        self.weight = nn.Parameter(torch.zeros(channels, channels))
        self.affine = FullyConnectedLayer(w_dim, 4)
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", torch.zeros(channels, 2))
        self.register_buffer("phases", torch.zeros(channels))

    def forward(self, w):
        """Map [N, w_dim] to [N, channels, size, size]."""
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cosine, sine, x, y = t.unbind(1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        turn = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], 1).reshape(-1, 3, 3)
        shift = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1).reshape(-1, 3, 3)
        transform = turn @ shift @ self.transform
        phases = self.phases + (self.freqs @ transform[:, :2, 2:])[:, :, 0]  # [N, C]
        freqs = self.freqs @ transform[:, :2, :2]  # [N, C, 2]
        room = self.sampling_rate / 2 - self.bandwidth
        fade = (1 - (freqs.norm(dim=2) - self.bandwidth) / room).clamp(0, 1)
        size = self.size[0]
        line = (torch.arange(size, device=w.device) + 0.5 - size / 2) / self.sampling_rate
        angle = freqs[:, :, 1:, None] * line[:, None] + freqs[:, :, :1, None] * line + phases[:, :, None, None]
        waves = torch.sin(2 * math.pi * angle) * fade[:, :, None, None]
        return F.conv2d(waves, self.weight[:, :, None, None] / math.sqrt(self.channels))


class AliasFreeLayer(nn.Module):
    """A modulated convolution of StyleGAN3, and a leaky ReLU at a higher sampling rate; or the layer to RGB."""

    def __init__(self, in_channels, out_channels, w_dim, up_filter, down_filter, **settings):
        super().__init__()
        self.in_channels, self.out_channels, self.w_dim = in_channels, out_channels, w_dim
        for name, value in settings.items():  # sizes, rates, cutoffs, taps, padding
            setattr(self, name, value)
        self.affine = FullyConnectedLayer(w_dim, in_channels)
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, self.conv_kernel, self.conv_kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        self.register_buffer("up_filter", up_filter)
        self.register_buffer("down_filter", down_filter)

    def forward(self, x, w, update_emas=False, **ignored):
        """Map [N, in_channels, h, h] and [N, w_dim] to [N, out_channels, H, H]."""
        if update_emas:
            magnitude = x.detach().float().square().mean()
            self.magnitude_ema.copy_(magnitude.lerp(self.magnitude_ema, self.magnitude_ema_beta))
        style, weight = self.affine(w), self.weight
        if self.is_torgb:
            style = style / math.sqrt(self.in_channels)
        else:
            style = style * style.square().mean(1, keepdim=True).rsqrt()
            weight = weight * weight.square().mean([1, 2, 3], keepdim=True).rsqrt()
        x = modulated(x, weight, style, not self.is_torgb, padding=self.conv_kernel - 1) * self.magnitude_ema.rsqrt()
        x = x + self.bias[:, None, None]
        if self.is_torgb:
            return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)
        x = filtered(x, self.up_filter * self.up_factor, self.up_factor, padding=self.padding[:2])
        return filtered(lrelu(x, clamp=self.conv_clamp), self.down_filter, down=self.down_factor)


class AliasFreeSynthesis(nn.Module):
    """StyleGAN3's synthesis network: w to images."""

    def __init__(self, w_dim, img_resolution, img_channels, num_critical, margin_size, output_scale, source, layers):
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        self.num_layers, self.num_critical, self.num_ws = len(layers) - 1, num_critical, len(layers) + 1
        self.margin_size, self.output_scale, self.num_fp16_res = margin_size, output_scale, 0
        self.input = source
        self.layer_names = []
        for k, layer in enumerate(layers):
            self.layer_names.append(f"L{k}_{layer.out_size[0]}_{layer.out_channels}")
            setattr(self, self.layer_names[-1], layer)

    def forward(self, ws, **layer_kwargs):
        """Return the images of `ws` [N, num_ws, w_dim]."""
        ws = ws.float()
        x = self.input(ws[:, 0])
        for k, name in enumerate(self.layer_names):
            x = getattr(self, name)(x, ws[:, k + 1], **layer_kwargs)
        return x * self.output_scale
