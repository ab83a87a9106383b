"""Spoiling pictures: frequency bands, noise and cut-out squares (Karras et al. 2020, arXiv 2006.06676, appendix B)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

SYM2 = (-0.12940952255126034, 0.2241438680420134, 0.8365163037378079, 0.48296291314453416)
"""The symlet of two vanishing moments (Daubechies 1992), from which the bands are split."""

POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Expected power of the bands in natural pictures, whose spectrum falls as 1 / f."""

BANDS = len(POWER)
"""Frequency bands: up to 1/8, 1/4, 1/2 and all of the Nyquist frequency."""


def band_gains(amounts: Tensor) -> Tensor:
    """Gains [N, BANDS] of all bands, from one amplification per band `amounts` [N, BANDS] (1 for none).

    Each amplification keeps the expected power, so it lowers the other bands.
    """
    gains = torch.ones_like(amounts)
    power = torch.tensor(POWER, dtype=amounts.dtype).to(amounts.device)
    for band in range(BANDS):
        this = torch.ones_like(amounts)
        this[:, band] = amounts[:, band]
        gains = gains * this / (power * this.square()).sum(1, keepdim=True).sqrt()
    return gains


def amplify(
    images: Tensor,  # [N, C, H, W]; a fourth channel is alpha and stays
    gains: Tensor,  # [N, BANDS]
) -> Tensor:
    """Pictures with their frequency bands amplified, in both directions; reflected at the borders."""
    colours, (height, width) = images[:, :3], images.shape[2:]
    gains = gains.to(images.dtype)
    rows = torch.einsum("nb,bij->nij", gains, _bands(height, images.device, images.dtype))[:, None]
    columns = torch.einsum("nb,bij->nji", gains, _bands(width, images.device, images.dtype))[:, None]
    filtered = rows @ colours @ columns
    changed = (gains != 1).any(1)[:, None, None, None]
    return torch.cat([torch.where(changed, filtered, colours), images[:, 3:]], 1)


@lru_cache(maxsize=16)
def _bands(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One matrix per band that filters a line of `size` pixels reflected at its ends: [BANDS, size, size]."""
    kernels = band_kernels()
    reach = kernels.shape[1] // 2
    places = np.arange(size)[:, None] + np.arange(-reach, reach + 1)
    places %= 2 * (size - 1)
    places = np.minimum(places, 2 * (size - 1) - places)  # [size, taps]
    matrices = np.zeros((BANDS, size, size))
    for band, kernel in enumerate(kernels):
        np.add.at(matrices[band], (np.arange(size)[:, None], places), kernel)
    with torch.inference_mode(False):
        return torch.from_numpy(matrices).to(device, dtype)


def band_kernels() -> np.ndarray[Any, Any]:
    """The bands' symmetric kernels, lowest first, [BANDS, 43]: they add up to the identity."""
    taps = np.array(SYM2)
    low = np.convolve(taps, taps[::-1]) / 2
    high = -low
    high[len(low) // 2] += 1

    # Each octave: what the filters so far let through, split by the pair spread to twice the distance.
    kernels, through, spacing = [], np.ones(1), 1
    for _ in range(BANDS - 1):
        kernels.append(np.convolve(through, _spread(high, spacing)))
        through = np.convolve(through, _spread(low, spacing))
        spacing *= 2
    kernels.append(through)
    longest = max(len(kernel) for kernel in kernels)
    return np.stack([np.pad(kernel, (longest - len(kernel)) // 2) for kernel in reversed(kernels)])


def _spread(kernel: np.ndarray[Any, Any], spacing: int) -> np.ndarray[Any, Any]:
    """A kernel with its taps `spacing` apart."""
    spread = np.zeros((len(kernel) - 1) * spacing + 1)
    spread[::spacing] = kernel
    return spread


def add_noise(
    images: Tensor,  # [N, C, H, W]; a fourth channel is alpha and stays
    sigma: Tensor,  # [N]
    noise: Tensor,  # normal, [N, 1 or 3, H, W]
) -> Tensor:
    """Pictures with noise on their colours."""
    noisy = images[:, :3] + noise.to(images.dtype) * sigma.to(images.dtype)[:, None, None, None]
    return torch.cat([noisy, images[:, 3:]], 1)


def cut_out(
    images: Tensor,  # [N, C, H, W]
    size: Tensor,  # [N]: of the rectangle, as a share of the sides; 0 for none
    x: Tensor,  # [N]: its middle, 0 (left) to 1
    y: Tensor,  # [N]: its middle, 0 (top) to 1
) -> Tensor:
    """Pictures with a rectangle set to 0, alpha included."""
    height, width = images.shape[2:]
    across = (torch.arange(width, device=x.device) + 0.5) / width - x[:, None]  # [N, W]
    down = (torch.arange(height, device=y.device) + 0.5) / height - y[:, None]  # [N, H]
    half = size[:, None] / 2
    keep = (down.abs() >= half)[:, None, :, None] | (across.abs() >= half)[:, None, None, :]
    return torch.where(keep, images, torch.zeros_like(images))
