"""StyleGAN3: Fourier features, and layers that move with the picture instead of sticking to pixels.

Configuration T is equivariant to translation, R to rotation as well. The discriminator is StyleGAN2's.
Source: Karras et al. 2021, arXiv 2106.12423.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from figment.nets.base import Family, GeneratorConfig, typed
from figment.nets.layers import SQRT2, Linear
from figment.nets.mapping import Mapping, StyleGenerator
from figment.nets.noise import Randomness
from figment.nets.ops import conv2d, full_precision, lowpass, modulate, resampled_lrelu, to_layout
from figment.nets.stylegan2 import StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig

MOST_TAPS = 256
"""Longest filter at an unchanged sampling rate: 12 in the original. A damaged file must not ask for gigabytes."""
MAGNITUDE_KIMG = 20.0
"""Half-life of the running magnitudes, in thousands of images (2021, appendix G)."""


@dataclass(frozen=True)
class StyleGAN3Config(GeneratorConfig):
    """What StyleGAN3's generator is built from; the defaults are configuration T."""

    w_dim: int = 512
    """Length of the latent w."""
    map_depth: int = 2
    """Layers of the mapping network."""
    map_lr_mul: float = 0.01
    """Learning rate of the mapping network relative to the rest."""
    channel_base: int = 32768
    """Feature maps times resolution: a layer of cutoff f has channel_base / 2f; twice as many with 1x1 kernels."""
    channel_max: int = 512
    """Most feature maps of any layer; twice as many with 1x1 kernels."""
    widths: tuple[int, ...] | None = None
    """Feature maps of the Fourier features, then of every layer but the last; None for the rule above."""
    kernel: int = 3
    """Size of the convolutions: 3 in T, 1 in R."""
    radial: bool = False
    """Whether low-pass filters treat all directions alike, as in R."""
    layers: int = 14
    """Layers before the one to RGB."""
    critical: int = 2
    """Last layers that use the whole bandwidth of the image."""
    first_cutoff: float = 2.0
    """Cutoff frequency of the Fourier features, in cycles per image."""
    first_stopband: float = 2**2.1
    """Frequency above which the first layer lets nothing pass, in cycles per image."""
    last_stopband: float = 2**0.3
    """The same of the last layer, relative to its cutoff."""
    margin: int = 10
    """Pixels around the image that all layers but the last two compute as well."""
    filter_size: int = 6
    """Taps of the filters, per factor by which they resample."""
    oversampling: int = 2
    """Factor of the sampling rate around each leaky ReLU."""
    output_scale: float = 0.25
    """What the output is multiplied by."""
    clamp: float | None = None
    """Limit of the absolute activations, 256 in the original for float16; None for no limit."""


@dataclass(frozen=True)
class StyleGAN3RotationConfig(StyleGAN3Config):
    """The same; the defaults are configuration R."""

    kernel: int = 1
    radial: bool = True


@dataclass(frozen=True)
class Signal:
    """The signal that a layer puts out."""

    cutoff: float
    """Highest frequency that passes, in cycles per image."""
    half_width: float
    """Half the width of the transition band of its filter, in cycles per image."""
    rate: int
    """Samples per image along an axis."""
    size: int
    """Samples along an axis, margins included."""


def signals(config: StyleGAN3Config) -> list[Signal]:
    """Return the signals of the layers, the one to RGB last (2021, section 3.2 and figure 4c).

    Cutoffs and stopbands rise geometrically until the critically sampled layers. The Fourier features have the first
    layer's. Raises ValueError for settings that leave no layers or no bandwidth, or need very long filters.
    """
    if config.layers <= config.critical or config.resolution <= 2 * config.first_cutoff:
        raise ValueError(f"{config.layers} layers at resolution {config.resolution}: too few")
    if not 0 < config.filter_size * config.oversampling <= MOST_TAPS:
        raise ValueError(
            f"filter_size {config.filter_size}, oversampling {config.oversampling}: too large or not positive"
        )
    last_cutoff = config.resolution / 2
    last_stopband = last_cutoff * config.last_stopband
    position = np.minimum(np.arange(config.layers + 1) / (config.layers - config.critical), 1)
    cutoffs = config.first_cutoff * (last_cutoff / config.first_cutoff) ** position
    stopbands = config.first_stopband * (last_stopband / config.first_stopband) ** position

    rates = 2 ** np.ceil(np.log2(np.minimum(2 * stopbands, config.resolution)))
    half_widths = np.maximum(stopbands, rates / 2) - cutoffs
    sizes = rates + 2 * config.margin
    sizes[-2:] = config.resolution
    rows = zip(cutoffs, half_widths, rates, sizes, strict=True)
    return [Signal(float(cutoff), float(half), int(rate), int(size)) for cutoff, half, rate, size in rows]


def layer_widths(config: StyleGAN3Config) -> list[int]:
    """Return the feature maps of the Fourier features, then of every layer but the one to RGB.

    Raises ValueError if the configuration names another number of them.
    """
    if config.widths is not None:
        if len(config.widths) != config.layers + 1:
            raise ValueError(f"widths {config.widths}: must name {config.layers + 1} layers")
        return list(config.widths)
    factor = 2 if config.kernel == 1 else 1
    base, limit = factor * config.channel_base, factor * config.channel_max
    found = [max(1, round(min(base / 2 / each.cutoff, limit))) for each in signals(config)]
    return [found[0], *found[:-1]]


class FourierFeatures(nn.Module):
    """The input: random sine waves, turned and shifted by w and by the user's `transform` (2021, appendix F)."""

    transform: Tensor  # [3, 3]
    freqs: Tensor  # [C, 2]
    phases: Tensor  # [C]

    def __init__(self, w_dim: int, channels: int, signal: Signal) -> None:
        super().__init__()
        self.signal = signal
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = Linear(w_dim, 4)
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", torch.randn(channels, 2))
        self.register_buffer("phases", torch.rand(channels))
        if self.freqs.is_meta:
            return

        # No transform at first; frequencies evenly from a disk of radius `cutoff`; phases in [-0.5, 0.5).
        nn.init.zeros_(self.affine.weight)
        self.affine.bias.data.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        radius = self.freqs.norm(dim=1, keepdim=True)
        self.freqs *= signal.cutoff / (radius * (radius.square() / 4).exp())
        self.phases -= 0.5

    def forward(self, w: Tensor) -> Tensor:
        """Map [N, w_dim] to [N, C, size, size]."""
        freqs, phases = self.transformed(w)
        cutoff, rate, size = self.signal.cutoff, self.signal.rate, self.signal.size
        fade = 1 - (freqs.norm(dim=2) - cutoff) / (rate / 2 - cutoff)  # frequencies that a transform pushed too high

        # Pixel centers, in units of the image without margins.
        line = (torch.arange(size, device=w.device, dtype=freqs.dtype) + 0.5 - size / 2) / rate
        x = freqs[:, :, :1] * line + phases[:, :, None]  # [N, C, W]
        y = freqs[:, :, 1:] * line  # [N, C, H]
        waves = torch.sin(2 * math.pi * (y[:, :, :, None] + x[:, :, None, :]))  # [N, C, H, W]
        waves = waves * fade.clamp(0, 1)[:, :, None, None]
        return torch.einsum("kc,nchw->nkhw", self.weight / math.sqrt(len(self.weight)), waves)

    def transformed(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frequencies [N, C, 2] and phases [N, C] after w's transform and the user's."""
        t = self.affine(w)  # [N, 4]: cosine and sine of the angle, shift along x and y
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cosine, sine, x, y = t.unbind(1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        turn = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], 1).view(-1, 3, 3)
        shift = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1).view(-1, 3, 3)
        transform = turn @ shift @ self.transform  # [N, 3, 3]
        return self.freqs @ transform[:, :2, :2], self.phases + (self.freqs @ transform[:, :2, 2:])[:, :, 0]


class Layer(nn.Module):
    """A modulated convolution, then a leaky ReLU at a higher sampling rate (2021, figure 4b)."""

    magnitude: Tensor  # []
    up_filter: Tensor  # [T]
    down_filter: Tensor  # [S] or [S, S]

    def __init__(
        self,
        inputs: int,
        outputs: int,
        before: Signal,  # that of the input
        after: Signal,  # that of the output
        config: StyleGAN3Config,
        critical: bool,  # whether the output is critically sampled: its filter then need not be radial
    ) -> None:
        super().__init__()
        self.affine = Linear(config.w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, config.kernel, config.kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("magnitude", torch.ones([]))
        self.clamp = config.clamp

        # Filters between the three sampling rates.
        rate = max(before.rate, after.rate) * config.oversampling
        self.up, self.down = rate // before.rate, rate // after.rate
        taps_up, taps_down = config.filter_size * self.up, config.filter_size * self.down
        radial = config.radial and not critical
        up_filter = lowpass(taps_up, before.cutoff, 2 * before.half_width, rate)
        down_filter = lowpass(taps_down, after.cutoff, 2 * after.half_width, rate, radial)
        self.register_buffer("up_filter", up_filter.to(self.bias.device))
        self.register_buffer("down_filter", down_filter.to(self.bias.device))

        # Samples at the high rate that the output needs, less those that the convolution puts out.
        need = (after.size - 1) * self.down + taps_up + taps_down - 1
        lack = need - (before.size + config.kernel - 1) * self.up
        start = (lack + self.up) // 2
        self.padding = (start, lack - start)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map [N, inputs, h, h] and [N, w_dim] to [N, outputs, H, H]."""
        with full_precision(x):
            # Styles and weights of mean square 1 keep the sums below in a good range; demodulation cancels both.
            style = self.affine(w)  # [N, inputs]
            style = style * style.square().mean(1, keepdim=True).rsqrt()
            weight = self.weight * self.weight.square().mean([1, 2, 3], keepdim=True).rsqrt()
            energy = style.square() @ weight.square().sum([2, 3]).t()  # [N, outputs]
            demodulate = (energy + 1e-8).rsqrt()
            style = style * self.magnitude.rsqrt()
        x = conv2d(modulate(x, style), weight, padding=weight.shape[2] - 1)
        x = torch.addcmul(self.bias.to(x.dtype)[:, None, None], x, demodulate.to(x.dtype)[:, :, None, None])
        return resampled_lrelu(x, self.up_filter, self.down_filter, self.up, self.down, self.padding, SQRT2, self.clamp)


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to RGB, without demodulation."""

    magnitude: Tensor  # []

    def __init__(self, inputs: int, config: StyleGAN3Config) -> None:
        super().__init__()
        self.affine = Linear(config.w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(config.channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.channels))
        self.register_buffer("magnitude", torch.ones([]))
        self.clamp = config.clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map [N, inputs, H, H] and [N, w_dim] to float32 [N, channels, H, H]."""
        with full_precision(x):
            style = self.affine(w) * (self.magnitude.rsqrt() / math.sqrt(self.weight.shape[1]))
            x = conv2d(modulate(x.to(self.weight.dtype), style), self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class StyleGAN3Generator(StyleGenerator):
    """The alias-free generator. Layer 0 of w moves the picture as a whole; the last one makes RGB."""

    config: StyleGAN3Config

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__(config)
        plan = signals(config)
        self.size = (config.resolution, config.resolution)
        self.widths = layer_widths(config)
        self.w_dim, self.map_depth = config.w_dim, config.map_depth
        self.num_layers = config.layers + 2

        self.mapper = Mapping(config.z_dim, config.c_dim, config.w_dim, config.map_depth, config.map_lr_mul)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.input = FourierFeatures(config.w_dim, self.widths[0], plan[0])
        self.layers = nn.ModuleList(
            Layer(
                self.widths[k],
                self.widths[k + 1],
                plan[max(k - 1, 0)],
                plan[k],
                config,
                critical=k >= config.layers - config.critical,
            )
            for k in range(config.layers)
        )
        self.rgb = ToRGB(self.widths[-1], config)

    def synthesis(
        self,
        w: Tensor,  # [N, num_layers, w_dim]
        noise: str = "const",  # ignored: there is no noise
        generator: Randomness = None,
    ) -> Tensor:
        """Return the images of `w`, [N, channels, H, W] in about [-1, 1]."""
        return self._synthesis(w)

    def observed_synthesis(self, w: Tensor, noise: str, generator: Randomness) -> tuple[Tensor, Tensor]:
        """Return `synthesis` and the mean square of every layer's input, [num_layers - 1]."""
        seen: list[Tensor] = []
        return self._synthesis(w, seen), torch.stack(seen)

    def _synthesis(self, w: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        w = w.to(self.w_avg.dtype)
        with full_precision(w):
            x = to_layout(self.input(w[:, 0]))
        for k, layer in enumerate(self._layers(), start=1):
            if seen is not None:
                seen.append(x.detach().float().square().mean())
            x = layer(x, w[:, k])
        return x * self.config.output_scale

    def _layers(self) -> list[Layer | ToRGB]:
        """Return the layers behind the Fourier features."""
        return [*typed(self.layers, Layer), self.rgb]

    @torch.no_grad()
    def update_observed(self, observed: Tensor, images: int) -> None:
        """Move the running magnitudes of the layers' inputs towards those of a batch of `images`."""
        beta = 0.5 ** (images / (MAGNITUDE_KIMG * 1000))
        for layer, square in zip(self._layers(), observed, strict=True):
            layer.magnitude.lerp_(square.to(layer.magnitude.dtype), 1 - beta)

    def move(
        self,
        degrees: float = 0.0,  # counterclockwise, around the center
        shift: tuple[float, float] = (0.0, 0.0),  # to the right and down, as shares of the width
    ) -> None:
        """Rotate, then shift all pictures that this network draws from now on, on top of what w does."""
        angle = math.radians(degrees)
        cosine, sine = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]], dtype=torch.float64)
        turn[:2, 2] = torch.tensor(shift)
        self.input.transform.copy_(turn.inverse())  # from places in the picture to places in the unmoved one

    def layer_of(self, name: str) -> int | None:
        """Return the layer of w that a weight belongs to; None for the mapping network."""
        self.require_weight(name)
        part, _, rest = name.partition(".")
        if part in ("mapper", "w_avg"):
            return None
        if part == "input":
            return 0
        return self.num_layers - 1 if part == "rgb" else int(rest.partition(".")[0]) + 1

    def style_weights(self) -> list[Tensor]:
        """Return the weights [C, w_dim] of every style, in the order of the layers; the first makes the transform."""
        return [each.affine.weight for each in (self.input, *self._layers())]


def family(name: str, config: type[StyleGAN3Config], **recipe: float) -> Family:
    """Return a configuration of StyleGAN3 as a family. Its recipe is that of the stylegan3 repository."""
    return Family(
        name,
        generator=StyleGAN3Generator,
        generator_config=config,
        discriminator=StyleGAN2Discriminator,
        discriminator_config=StyleGAN2DiscriminatorConfig,
        gamma=0.001,  # 2 at 256 pixels and batch 32, see its docs/configs.md
        ema_rampup=0.05,
        preset=name,
        recipe={"d_lr": 0.8, **recipe},
    )


FAMILIES = (family("stylegan3-t", StyleGAN3Config), family("stylegan3-r", StyleGAN3RotationConfig, blur_sigma=10.0))
