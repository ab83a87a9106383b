"""Band filtering, noise and cutout, compared with numpy."""

import numpy as np
import pytest
import torch

from figment.train.augment.corrupt import BANDS, POWER, add_noise, amplify, band_gains, band_kernels, cut_out


def response(kernel, frequency):
    """The gain of a symmetric kernel at a frequency in radians per pixel."""
    places = np.arange(len(kernel)) - len(kernel) // 2
    return float((kernel * np.cos(frequency * places)).sum())


def test_the_bands_add_up_to_the_identity_and_split_the_spectrum():
    kernels = band_kernels()
    assert kernels.shape == (BANDS, 43)
    assert kernels.sum(0) == pytest.approx(np.eye(43)[21], abs=1e-12)
    assert kernels == pytest.approx(kernels[:, ::-1], abs=1e-12)
    for band, share in enumerate((0.02, 0.18, 0.37, 0.9)):
        gains = [response(kernel, share * np.pi) for kernel in kernels]
        assert np.argmax(gains) == band and gains[band] > 0.7


def test_gains_keep_the_expected_power():
    amounts = torch.ones(3, BANDS, dtype=torch.float64)
    amounts[0, 2], amounts[1, 0] = 4.0, 0.5
    gains = band_gains(amounts)
    power = (gains.square().numpy() * np.array(POWER)).sum(1)
    assert power == pytest.approx([1, 1, 1])
    assert gains[0, 2] / gains[0, 1] == pytest.approx(4) and gains[1, 0] / gains[1, 3] == pytest.approx(0.5)
    assert torch.equal(gains[2], torch.ones(BANDS, dtype=torch.float64))


def test_amplifying_against_plain_convolution():
    image = np.random.default_rng(0).uniform(-1, 1, (24, 30))
    gains = np.array([0.8, 1.5, 0.6, 2.0])
    kernel = (gains[:, None] * band_kernels()).sum(0)
    expected = np.pad(image, 21, mode="reflect")
    expected = np.apply_along_axis(lambda line: np.convolve(line, kernel, "valid"), 0, expected)
    expected = np.apply_along_axis(lambda line: np.convolve(line, kernel, "valid"), 1, expected)
    images = torch.from_numpy(image).expand(1, 4, -1, -1)
    seen = amplify(images, torch.from_numpy(gains)[None])
    assert seen[0, 1].numpy() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(seen[:, 3], images[:, 3])


def test_tiny_pictures_are_reflected_as_often_as_needed():
    images = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    gains = band_gains(torch.tensor([[1.0, 1.0, 1.0, 3.0]], dtype=torch.float64))
    assert torch.allclose(amplify(images, gains), images * gains[0, 0].square())


def test_noise_has_its_strength_and_leaves_alpha():
    images, noise = torch.zeros(2, 4, 64, 64), torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    seen = add_noise(images, torch.tensor([0.0, 0.3]), noise)
    assert torch.equal(seen[0], images[0]) and torch.equal(seen[:, 3], images[:, 3])
    assert seen[1, :3].std().item() == pytest.approx(0.3, rel=0.03)


def test_a_cut_out_rectangle_is_where_it_should_be():
    images = torch.ones(3, 3, 16, 32)
    seen = cut_out(images, torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.5, 0.0, 0.5]), torch.tensor([0.5, 0.0, 0.5]))
    expected = np.ones((16, 32))
    expected[4:12, 8:24] = 0
    assert np.array_equal(seen[0, 0].numpy(), expected)
    expected = np.ones((16, 32))
    expected[:4, :8] = 0
    assert np.array_equal(seen[1, 2].numpy(), expected)
    assert torch.equal(seen[2], images[2])
