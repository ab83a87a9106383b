"""Corrupting augmentations: band filtering, noise and cutout (Karras et al. 2020, arXiv 2006.06676, appendix B)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

SYM2 = (-0.12940952255126034, 0.2241438680420134, 0.8365163037378079, 0.48296291314453416)
"""The symlet with two vanishing moments (Daubechies 1992), which splits the bands."""

POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Expected power of each band in natural images, whose spectrum falls as 1 / f."""

BANDS = len(POWER)
"""Number of frequency bands: up to 1/8, 1/4, 1/2 and all of the Nyquist frequency."""


def band_gains(amounts: Tensor) -> Tensor:
    """Return the gains [N, BANDS] of all bands, given one amplification per band, `amounts` [N, BANDS] (1 for none).

    Each amplification keeps the expected power of the image, so it lowers the other bands.
    """
    gains = torch.ones_like(amounts)
    power = torch.tensor(POWER, dtype=amounts.dtype).to(amounts.device)
    for band in range(BANDS):
        this = torch.ones_like(amounts)
        this[:, band] = amounts[:, band]
        gains = gains * this / (power * this.square()).sum(1, keepdim=True).sqrt()
    return gains


def amplify(
    images: Tensor,  # [N, C, H, W]; a fourth channel is alpha and is left unchanged
    gains: Tensor,  # [N, BANDS]
) -> Tensor:
    """Return images with their frequency bands amplified along both axes, with reflection at the borders."""
    colors, (height, width) = images[:, :3], images.shape[2:]
    gains = gains.to(images.dtype)
    rows = torch.einsum("nb,bij->nij", gains, _bands(height, images.device, images.dtype))[:, None]
    columns = torch.einsum("nb,bij->nji", gains, _bands(width, images.device, images.dtype))[:, None]
    filtered = rows @ colors @ columns
    changed = (gains != 1).any(1)[:, None, None, None]
    return torch.cat([torch.where(changed, filtered, colors), images[:, 3:]], 1)


@lru_cache(maxsize=16)
def _bands(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return one matrix per band that filters a line of `size` pixels, reflected at its ends: [BANDS, size, size]."""
    kernels = band_kernels()
    reach = kernels.shape[1] // 2
    positions = np.arange(size)[:, None] + np.arange(-reach, reach + 1)
    positions %= 2 * (size - 1)
    positions = np.minimum(positions, 2 * (size - 1) - positions)  # [size, taps]
    matrices = np.zeros((BANDS, size, size))
    for band, kernel in enumerate(kernels):
        np.add.at(matrices[band], (np.arange(size)[:, None], positions), kernel)
    with torch.inference_mode(False):
        return torch.from_numpy(matrices).to(device, dtype)


def band_kernels() -> np.ndarray[Any, Any]:
    """Return the symmetric kernels of the bands, lowest first, float64 [BANDS, 43]: their sum is the identity."""
    taps = np.array(SYM2)
    low = np.convolve(taps, taps[::-1]) / 2
    high = -low
    high[len(low) // 2] += 1

    # Split the low-pass part again and again, with taps twice as far apart each time.
    kernels, through, spacing = [], np.ones(1), 1
    for _ in range(BANDS - 1):
        kernels.append(np.convolve(through, _dilate(high, spacing)))
        through = np.convolve(through, _dilate(low, spacing))
        spacing *= 2
    kernels.append(through)
    longest = max(len(kernel) for kernel in kernels)
    return np.stack([np.pad(kernel, (longest - len(kernel)) // 2) for kernel in reversed(kernels)])


def _dilate(kernel: np.ndarray[Any, Any], spacing: int) -> np.ndarray[Any, Any]:
    """Return the kernel with its taps `spacing` apart."""
    dilated = np.zeros((len(kernel) - 1) * spacing + 1)
    dilated[::spacing] = kernel
    return dilated


def add_noise(
    images: Tensor,  # [N, C, H, W]; a fourth channel is alpha and is left unchanged
    sigma: Tensor,  # [N]: standard deviation
    noise: Tensor,  # [N, 1 or 3, H, W], standard normal
) -> Tensor:
    """Return images with noise on their color channels."""
    noisy = images[:, :3] + noise.to(images.dtype) * sigma.to(images.dtype)[:, None, None, None]
    return torch.cat([noisy, images[:, 3:]], 1)


def cut_out(
    images: Tensor,  # [N, C, H, W]
    size: Tensor,  # [N]: size of the rectangle as a share of the sides; 0 for none
    x: Tensor,  # [N]: its center, 0 (left) to 1 (right)
    y: Tensor,  # [N]: its center, 0 (top) to 1 (bottom)
) -> Tensor:
    """Return images with a rectangle set to 0, alpha included."""
    height, width = images.shape[2:]
    across = (torch.arange(width, device=x.device) + 0.5) / width - x[:, None]  # [N, W]
    down = (torch.arange(height, device=y.device) + 0.5) / height - y[:, None]  # [N, H]
    half = size[:, None] / 2
    keep = (down.abs() >= half)[:, None, :, None] | (across.abs() >= half)[:, None, None, :]
    return torch.where(keep, images, torch.zeros_like(images))
