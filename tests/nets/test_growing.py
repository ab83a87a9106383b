"""Progressive growing in StyleGAN and ProGAN: any fraction of lod in both networks."""

import pytest
import torch
import torch.nn.functional as F

from figment.nets import progan, stylegan1
from figment.nets.growing import conv_downsample, upsample_conv

FAMILIES = {"stylegan1": stylegan1, "progan": progan}


def make(family: str, **more: object):
    torch.manual_seed(0)
    shared = {"resolution": 32, "channel_base": 64, "channel_max": 8} | more
    mapping = {} if family == "progan" else {"w_dim": 8, "map_depth": 2}
    g = FAMILIES[family].FAMILY.build_generator({"z_dim": 8} | shared | mapping).double()
    d = FAMILIES[family].FAMILY.build_discriminator(shared).double()
    with torch.no_grad():
        for parameter in (*g.parameters(), *d.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return g, d


Z = torch.randn(4, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_doubling_and_halving_equal_their_two_steps():
    x, weight = torch.randn(2, 3, 6, 4).double(), torch.randn(5, 3, 3, 3).double()
    large = F.interpolate(x, scale_factor=2, mode="nearest")
    torch.testing.assert_close(upsample_conv(x, weight), F.conv2d(large, weight, padding=1))
    torch.testing.assert_close(conv_downsample(x, weight), F.avg_pool2d(F.conv2d(x, weight, padding=1), 2))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fraction_of_lod_fades_between_two_sizes(family):
    g, d = make(family)
    pictures = {}
    for lod in (0.0, 0.3, 1.0):
        g.lod = d.lod = lod
        pictures[lod] = g(Z)
        assert pictures[lod].shape == (4, 3, 32, 32)
        assert d(pictures[lod]).shape == (4, 1)
    torch.testing.assert_close(pictures[0.3], torch.lerp(pictures[0.0], pictures[1.0], 0.3))
    blocks = F.avg_pool2d(pictures[1.0], 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(blocks, pictures[1.0])


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_do_not_jump_where_a_level_is_added(family):
    _, d = make(family)
    x = torch.randn(4, 3, 32, 32).double()
    for whole in (1, 2, 3):
        scores = []
        for lod in (whole - 1e-9, whole):
            d.lod = lod
            scores.append(d(x))
        torch.testing.assert_close(*scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_unused_levels_get_no_gradient(family):
    g, d = make(family)
    g.lod = d.lod = 2
    d(g(Z)).sum().backward()
    used = {name: p.grad is not None for name, p in g.named_parameters() if name.startswith("blocks.")}
    assert all(used[name] == (int(name.split(".")[1]) < 2 and "blocks.0.rgb" not in name) for name in used)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("channels", "start"), [(1, (4, 3)), (4, (3, 4))])
def test_any_colours_and_any_start(family, channels, start):
    g, d = make(family, channels=channels, start=start)
    pictures = g(Z)
    assert pictures.shape == (4, channels, start[0] * 8, start[1] * 8)
    assert d(pictures).isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_change_the_pictures(family):
    g, _ = make(family, c_dim=2)
    labels = torch.eye(2).double()
    assert (g(Z[:1], labels[:1]) - g(Z[:1], labels[1:])).abs().max() > 1e-6


def test_stylegan1_r1_reaches_every_used_weight():
    _, d = make("stylegan1")
    x = torch.randn(4, 3, 32, 32).double().requires_grad_(True)
    (grads,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    grads.square().sum().backward()
    assert d.blocks[0].conv0.weight.grad.abs().max() > 0
