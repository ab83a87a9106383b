"""Layers against plain references; sizes and channels of the blocks."""

import pytest
import torch
import torch.nn.functional as F

from figment.nets.layers import (
    SQRT2,
    Conv2d,
    Linear,
    block_channels,
    block_sizes,
    leaky_relu,
    minibatch_stddev,
    pixel_norm,
    rgb_output,
)
from figment.nets.ops import FIR_1331, Backend, upfirdn2d_reference, use_backend
from figment.nets.registry import build_discriminator, build_generator


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equalized_layers_keep_unit_variance():
    torch.manual_seed(0)
    for lr_mul in (1.0, 0.01):
        out = Linear(256, 256, lr_mul=lr_mul)(torch.randn(512, 256))
        assert abs(out.std().item() - 1) < 0.05
    out = Conv2d(64, 64, 3, activate=False)(torch.randn(4, 64, 16, 16))
    assert abs(out[..., 1:-1, 1:-1].std().item() - 1) < 0.1


def test_the_minibatch_stddev_of_interleaved_groups():
    x = noise(6, 4, 3, 3)
    found = minibatch_stddev(x, group=3, channels=2)
    assert found.shape == (6, 6, 3, 3)
    for n in range(6):
        members = x[n % 2 :: 2]  # every second sample: N / group = 2 groups
        for k in range(2):
            part = members[:, 2 * k : 2 * k + 2]
            wanted = (part.var(0, correction=0) + 1e-8).sqrt().mean()
            torch.testing.assert_close(found[n, 4 + k], wanted.expand(3, 3))


def test_pixel_norm_gives_unit_mean_square():
    x = pixel_norm(noise(5, 8) * 7)
    torch.testing.assert_close(x.square().mean(1), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize(("kernel", "down"), [(1, False), (3, False), (1, True), (3, True)])
def test_a_convolution_is_its_equation(kernel, down):
    torch.manual_seed(0)
    layer, x = Conv2d(5, 7, kernel, down=down, clamp=0.9), torch.randn(2, 5, 8, 6)
    layer.bias.data.normal_()
    gain = 0.5
    weight = layer.weight / (5 * kernel * kernel) ** 0.5
    if not down:
        y = F.conv2d(x, weight, layer.bias, padding=kernel // 2)
    elif kernel == 1:
        y = F.conv2d(upfirdn2d_reference(x, FIR_1331, down=2, padding=1), weight, layer.bias)
    else:
        y = F.conv2d(upfirdn2d_reference(x, FIR_1331, padding=2), weight, layer.bias, stride=2)
    expected = (F.leaky_relu(y, 0.2) * SQRT2 * gain).clamp(-0.9 * gain, 0.9 * gain)
    found = layer(x, gain=gain)
    assert found.shape == (2, 7, 4, 3) if down else (2, 7, 8, 6)
    torch.testing.assert_close(found, expected)


def test_the_leaky_relu_works_in_place_and_clamps():
    x = torch.tensor([-5.0, -1.0, 0.5, 2.0])
    assert leaky_relu(x) is x
    torch.testing.assert_close(x, torch.tensor([-1.0, -0.2, 0.5, 2.0]))
    torch.testing.assert_close(leaky_relu(x, clamp=0.4), torch.tensor([-0.2, -0.04, 0.4, 0.4]))


def test_rgb_is_computed_in_full_precision():
    torch.manual_seed(0)
    layer, x = Conv2d(8, 3, 1, activate=False), torch.randn(2, 8, 4, 4).bfloat16()
    with use_backend(Backend(torch.bfloat16)):
        found = rgb_output(x, layer)
    assert torch.equal(found, layer(x.float()))


def test_blocks_double_up_to_the_resolution():
    assert block_sizes(32, (4, 4)) == [(4, 4), (8, 8), (16, 16), (32, 32)]
    assert block_sizes(12, (6, 4)) == [(6, 4), (12, 8)]
    for resolution in (24, 2):
        with pytest.raises(ValueError, match=f"resolution {resolution}: must be 4 times a power of two"):
            block_sizes(resolution, (4, 4))


def test_channels_halve_with_the_resolution_up_to_a_limit():
    assert block_channels(4, 64, 10) == [10, 8, 4, 2]
    assert block_channels(2, 64, 10, [3, 5]) == [3, 5]
    with pytest.raises(ValueError, match=r"widths \[3\]: must name 2 blocks"):
        block_channels(2, 64, 10, [3])


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
