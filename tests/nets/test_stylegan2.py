"""StyleGAN2's layers against the paper's equations, and its networks in every shape."""

import pytest
import torch
import torch.nn.functional as F

from figment.base.errors import FigmentError
from figment.nets.layers import SQRT2
from figment.nets.stylegan2 import FAMILY, StyledConv

SMALL = {"channel_base": 64, "channel_max": 8}


def build_generator(**settings):
    return FAMILY.build_generator(settings)


def build_discriminator(**settings):
    return FAMILY.build_discriminator(settings)


def test_modulation_equals_weights_per_sample():
    """Karras et al. 2019, equations 1 to 3, as a grouped convolution with one kernel per sample."""
    torch.manual_seed(0)
    layer = StyledConv(3, 5, 4, (6, 6)).double()
    x, w = torch.randn(2, 3, 6, 6).double(), torch.randn(2, 4).double()
    style = layer.affine(w)
    weight = layer.weight[None] * style[:, None, :, None, None]
    weight = weight * (weight.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    wanted = F.conv2d(x.reshape(1, 6, 6, 6), weight.reshape(10, 3, 3, 3), padding=1, groups=2).reshape(2, 5, 6, 6)
    wanted = F.leaky_relu(wanted + layer.bias[:, None, None], 0.2) * SQRT2
    torch.testing.assert_close(layer(x, w, "none", None), wanted)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("start", [(4, 4), (4, 3), (3, 4), (2, 5)])
def test_any_colours_and_any_start(channels, start):
    torch.manual_seed(0)
    side = max(start) * 4
    g = FAMILY.build_generator(
        dict(z_dim=8, w_dim=8, resolution=side, channels=channels, start=start, map_depth=2, **SMALL)
    )
    d = build_discriminator(resolution=side, channels=channels, start=start, **SMALL)
    pictures = g(torch.randn(3, 8))
    assert pictures.shape == (3, channels, start[0] * 4, start[1] * 4)
    scores = d(pictures)
    assert scores.shape == (3, 1)
    scores.sum().backward()
    assert all(p.grad is not None for p in g.parameters())


def test_labels_change_pictures_and_scores():
    torch.manual_seed(0)
    g = build_generator(z_dim=8, c_dim=3, w_dim=8, resolution=16, map_depth=2, **SMALL)
    for how in ("project", "select"):
        d = build_discriminator(c_dim=3, resolution=16, label=how, **SMALL)
        z, labels = torch.randn(1, 8), torch.eye(3)
        pictures = g(z.expand(3, -1), labels)
        assert (pictures[0] - pictures[1]).abs().max() > 1e-4
        scores = d(pictures[:1].expand(3, -1, -1, -1), labels)
        assert scores.unique().numel() == 3


def test_noise_is_constant_random_or_none():
    torch.manual_seed(0)
    g = build_generator(z_dim=8, w_dim=8, resolution=16, map_depth=2, **SMALL)
    for block in g.blocks:
        block.conv1.noise_strength.data.fill_(0.5)
    w = g.mapping(torch.randn(2, 8))
    assert torch.equal(g.synthesis(w), g.synthesis(w))
    assert not torch.equal(g.synthesis(w, noise="none"), g.synthesis(w))
    draw = lambda seed: g.synthesis(w, noise="random", generator=torch.Generator().manual_seed(seed))  # noqa: E731
    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    with pytest.raises(ValueError, match="noise 'loud'"):
        g.synthesis(w, noise="loud")


def test_a_wrong_resolution_is_told():
    with pytest.raises(FigmentError, match="stylegan2 generator: resolution 24: must be 4 times a power of two"):
        build_generator(resolution=24)
