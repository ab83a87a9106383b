"""Filters of StyleGAN3 against scipy and against their definition, to the second derivative."""

import numpy as np
import pytest
import torch
from scipy import signal

from figment.nets.ops import lowpass, resampled_lrelu, resampled_lrelu_reference


def response(taps: torch.Tensor, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies and the filter's gain at each."""
    return signal.freqz(taps.double().numpy(), worN=512, fs=rate)


def test_a_filter_passes_low_frequencies_and_stops_high_ones():
    frequencies, gain = response(lowpass(24, cutoff=2.0, width=4.0, rate=32.0), 32.0)
    assert np.abs(gain[frequencies < 0.5]).min() > 0.95
    assert np.abs(gain[frequencies > 5.0]).max() < 0.05


def difference(kernel: torch.Tensor) -> float:
    """Return how much the gain along the diagonal differs from that along an axis, at most."""
    spectrum = np.abs(np.fft.fft2(kernel.double().numpy(), (512, 512)))
    steps = np.arange(16, 128)  # 1 to 8 cycles
    diagonal = np.round(steps / np.sqrt(2)).astype(int)
    return float(np.abs(spectrum[steps, 0] - spectrum[diagonal, diagonal]).max())


def test_a_radial_filter_treats_all_directions_more_alike():
    kernel = lowpass(24, cutoff=4.0, width=4.0, rate=32.0, radial=True)
    line = lowpass(24, cutoff=4.0, width=4.0, rate=32.0)
    assert kernel.sum() == pytest.approx(1)
    torch.testing.assert_close(kernel, kernel.t())
    torch.testing.assert_close(kernel, kernel.flip(0))
    assert difference(kernel) < 0.1 * difference(line[:, None] * line)


@pytest.mark.parametrize(("up", "down"), [(2, 2), (4, 2), (2, 4), (1, 2), (2, 1)])
@pytest.mark.parametrize("padding", [(9, 8), (-5, -6), (0, 3)])
@pytest.mark.parametrize("radial", [False, True])
def test_the_fast_path_is_the_definition(up, down, padding, radial):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 31, 31, dtype=torch.float64)
    filters = lowpass(6 * up, 2.0, 8.0, 16.0 * up), lowpass(6 * down, 2.0, 8.0, 16.0 * down, radial)
    found = resampled_lrelu(x, *filters, up, down, padding, gain=1.5)
    torch.testing.assert_close(found, resampled_lrelu_reference(x, *filters, up, down, padding, gain=1.5))


def test_it_differentiates_twice():
    torch.manual_seed(0)
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    filters = lowpass(4, 2.0, 8.0, 32.0), lowpass(4, 2.0, 8.0, 32.0)

    def run(x):
        return resampled_lrelu(x, *filters, 2, 2, (3, 2))

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


def test_activations_are_clamped_between_the_filters():
    x = torch.full((1, 1, 24, 24), 100.0)
    filters = lowpass(12, 2.0, 8.0, 32.0), lowpass(12, 2.0, 8.0, 32.0)
    found = resampled_lrelu(x, *filters, 2, 2, (0, 0), clamp=10.0)
    torch.testing.assert_close(found, torch.full_like(found, 10.0))


def test_the_filter_must_fit_the_factor():
    with pytest.raises(ValueError, match="up_filter of 7 taps: must be a multiple of 2"):
        resampled_lrelu(torch.zeros(1, 1, 8, 8), torch.ones(7), torch.ones(4), 2, 2, (0, 0))
