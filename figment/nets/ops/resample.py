"""Resampling with windowed sinc filters, as StyleGAN3 does around each nonlinearity.

A leaky ReLU creates frequencies above what the sampling rate can represent. StyleGAN3 raises the rate before it and
lowers the rate after it, each time with a low-pass filter (Karras et al. 2021, arXiv 2106.12423, section 3.2).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from figment.nets.ops.filtered_lrelu import leaky_relu


def lowpass(
    taps: int,  # length of the filter
    cutoff: float,  # in cycles per unit length
    width: float,  # of the transition band, in cycles per unit length
    rate: float,  # samples per unit length
    radial: bool = False,  # True: a filter that treats all directions alike; False: one for each axis in turn
) -> Tensor:
    """Return a low-pass filter of sum 1 with a Kaiser window, float32 [taps], or [taps, taps] if radial.

    Source: Karras et al. 2021, arXiv 2106.12423, appendix C.1 and equation 6.
    """
    from scipy import signal, special

    if not radial:
        return torch.from_numpy(signal.firwin(taps, cutoff, width=width, fs=rate)).float()
    beta = signal.kaiser_beta(signal.kaiser_atten(taps, width / (rate / 2)))
    window = np.kaiser(taps, beta)
    line = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(line[:, None], line)
    kernel = special.j1(2 * np.pi * cutoff * radius) / (np.pi * radius) * np.outer(window, window)
    return torch.from_numpy(kernel / kernel.sum()).float()


def resampled_lrelu_reference(
    x: Tensor, up_filter: Tensor, down_filter: Tensor, up: int, down: int, padding: tuple[int, int], gain: float
) -> Tensor:
    """Compute `resampled_lrelu` as its definition says: insert zeros, pad, filter, activate, filter, drop samples."""
    n, c, h, w = x.shape
    spaced = x.new_zeros(n, c, h * up, w * up)
    spaced[:, :, ::up, ::up] = x
    high = _depthwise(F.pad(spaced, (*padding, *padding)), _square(up_filter) * up**2)
    return _depthwise(F.leaky_relu(high, 0.2) * gain, _square(down_filter))[:, :, ::down, ::down]


def resampled_lrelu(
    x: Tensor,  # [N, C, H, W]
    up_filter: Tensor,  # [T], T a multiple of `up`
    down_filter: Tensor,  # [S], or [S, S]
    up: int,  # factor of the sampling rate before the leaky ReLU
    down: int,  # factor by which it falls after it
    padding: tuple[int, int],  # samples added before and after each axis at the high rate; negative ones crop
    gain: float = 1.0,  # of the activation
    clamp: float | None = None,  # limit of the absolute activation; None for no limit
) -> Tensor:
    """Return `x` at `up` times its rate, through a leaky ReLU of slope 0.2, and back at 1 / `down` of that.

    Each axis of the result has (up H + padding - T + 1 - S) // down + 1 samples, of the type of `x`. Differentiable
    any number of times. Raises ValueError if T is no multiple of `up`.
    """
    if len(up_filter) % up:
        raise ValueError(f"up_filter of {len(up_filter)} taps: must be a multiple of {up}")
    high = _upsample(x, up_filter * (up * gain**0.5), up, padding)
    return _downsample(leaky_relu(high, clamp), down_filter, down)


def _upsample(x: Tensor, taps: Tensor, up: int, padding: tuple[int, int]) -> Tensor:
    """Return `x` upsampled along both axes with the filter `taps`.

    Polyphase: each of the `up` samples that replace one pixel is a filter of its own on the pixels, so no zero is ever
    multiplied.
    """
    before, after = padding
    length = x.shape[2] * up + before + after - len(taps) + 1  # samples of the result
    first, last = -(before // up), -((before - length + 1) // up)  # leftmost pixel of the first and last sample
    phases = taps.view(-1, up).t().flip(0)  # [up, T / up]: the sample furthest left first
    end = last + phases.shape[1] - x.shape[2]
    x = F.pad(x, (-first, end, -first, end))
    for axis in (2, 3):
        shape = (-1, 1) if axis == 2 else (1, -1)
        samples = [_depthwise(x, phase.view(shape)) for phase in phases]
        x = torch.stack(samples, axis + 1).flatten(axis, axis + 1)
    start = (up - 1) - (first * up + before)
    return x[:, :, start : start + length, start : start + length]


def _downsample(x: Tensor, taps: Tensor, down: int) -> Tensor:
    """Return every `down`-th sample of `x` filtered with `taps`, [S] along both axes or [S, S]."""
    if taps.ndim == 2:
        return _depthwise(x, taps, (down, down))
    return _depthwise(_depthwise(x, taps[:, None], (down, 1)), taps[None], (1, down))


def _square(taps: Tensor) -> Tensor:
    return taps if taps.ndim == 2 else taps[:, None] * taps


def _depthwise(x: Tensor, kernel: Tensor, stride: tuple[int, int] = (1, 1)) -> Tensor:
    """Return `x` with every channel convolved with the same `kernel` [h, w]."""
    return F.conv2d(x, kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1), stride=stride, groups=x.shape[1])
