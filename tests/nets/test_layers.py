"""Layers against plain references, to the second derivative."""

import numpy as np
import pytest
import torch
from scipy import signal

from figment.nets.layers import Conv2d, Linear, minibatch_stddev, pixel_norm
from figment.nets.ops import FIR_121, FIR_1331, enlarge, fir
from figment.nets.registry import build_discriminator, build_generator

TAPS = {FIR_1331: np.array([1.0, 3, 3, 1]) / 8, FIR_121: np.array([1.0, 2, 1]) / 4}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("taps", [FIR_1331, FIR_121])
def test_the_filter_is_the_binomial_one(taps):
    x = noise(1, 2, 7, 6)
    kernel = np.outer(TAPS[taps], TAPS[taps])
    found = fir(x, taps, pad=1, gain=2.0)
    for c in range(2):
        padded = np.pad(x[0, c].numpy(), 1)
        np.testing.assert_allclose(found[0, c].numpy(), 2 * signal.correlate2d(padded, kernel, "valid"), atol=1e-12)


def test_filters_differentiate_twice():
    x = noise(2, 2, 6, 6).requires_grad_(True)
    for function in (lambda x: fir(x, FIR_1331, pad=1), lambda x: fir(x, FIR_1331, pad=2, down=2), enlarge):
        square = lambda x, function=function: function(x).square()  # noqa: E731
        assert torch.autograd.gradcheck(square, x)
        assert torch.autograd.gradgradcheck(square, x)


def test_in_bfloat16_filters_and_their_derivatives_are_those_of_float32_rounded():
    x = noise(2, 8, 6, 6).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_(True)
    for pad, down in ((1, 1), (1, 2)):
        filtered = fir(x, FIR_1331, pad=pad, down=down)
        direction = noise(*filtered.shape, seed=1).bfloat16()
        (grad,) = torch.autograd.grad(filtered, x, direction)
        whole = x.detach().float().requires_grad_(True)
        wanted = fir(whole, FIR_1331, pad=pad, down=down)
        (grad_wanted,) = torch.autograd.grad(wanted, whole, direction.float())
        for found, full in ((filtered, wanted), (grad, grad_wanted)):
            assert found.dtype == torch.bfloat16
            torch.testing.assert_close(found.float(), full, rtol=2**-7, atol=1e-3)


def test_enlarging_keeps_a_flat_picture_flat_within_its_borders():
    flat = enlarge(torch.ones(1, 1, 8, 6))
    assert flat.shape == (1, 1, 16, 12)
    torch.testing.assert_close(flat[..., 1:-1, 1:-1], torch.ones(1, 1, 14, 10))


def test_equalised_layers_keep_unit_variance():
    torch.manual_seed(0)
    for lr_mul in (1.0, 0.01):
        out = Linear(256, 256, lr_mul=lr_mul)(torch.randn(512, 256))
        assert abs(out.std().item() - 1) < 0.05
    out = Conv2d(64, 64, 3, activate=False)(torch.randn(4, 64, 16, 16))
    assert abs(out[..., 1:-1, 1:-1].std().item() - 1) < 0.1


def test_the_minibatch_deviation_of_interleaved_groups():
    x = noise(6, 4, 3, 3)
    found = minibatch_stddev(x, group=3, channels=2)
    assert found.shape == (6, 6, 3, 3)
    for n in range(6):
        members = x[n % 2 :: 2]  # every second sample: N / group = 2 groups
        for k in range(2):
            part = members[:, 2 * k : 2 * k + 2]
            wanted = (part.var(0, correction=0) + 1e-8).sqrt().mean()
            torch.testing.assert_close(found[n, 4 + k], wanted.expand(3, 3))


def test_rows_get_unit_mean_square():
    x = pixel_norm(noise(5, 8) * 7)
    torch.testing.assert_close(x.square().mean(1), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("learns", [False, True])
def test_a_picture_is_enlarged_in_its_own_precision_under_autocast(learns):
    picture = noise(2, 3, 8, 8).float().requires_grad_(learns)
    with torch.autocast("cpu", torch.bfloat16):
        found = enlarge(picture)
    torch.testing.assert_close(found, enlarge(picture.double()).float(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", ["stylegan2", "stylegan1", "progan", "lucidrains"])
def test_latents_colours_and_scores_keep_full_precision_under_autocast(family):
    torch.manual_seed(0)
    narrow = {"channel_base": 64, "channel_max": 8} if family != "lucidrains" else {}
    g = build_generator({"family": family, "resolution": 16, "channels": 3, "z_dim": 8, **narrow})
    d = build_discriminator({"family": family, "resolution": 16, "channels": 3, **narrow})
    z = torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        w = g.mapping(z)
        pictures = g.synthesis(w, noise="none")
        scores = d(pictures)
    assert torch.equal(w, g.mapping(z))
    for result, full in ((pictures, g.synthesis(w, noise="none")), (scores, d(pictures))):
        assert result.dtype == torch.float32
        assert not torch.equal(result, result.bfloat16().float())  # the last layer did not round
        assert not torch.equal(result, full)  # but those before it did
