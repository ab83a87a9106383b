"""The projected discriminator against plain references: singular values, frozen parts, scales, colors, its file."""

import pytest
import torch
import torch.nn.functional as F

from figment.base.errors import FigmentError
from figment.heads.network import SHIPPED, fold_norms, load_net
from figment.models import load
from figment.nets.adapt import adapt
from figment.nets.checkpoint import Model, save
from figment.nets.projected import ProjectedDiscriminator, SpectralConv2d
from figment.nets.registry import build_discriminator, build_generator

SETTINGS = {"family": "stylegan2", "kind": "projected", "version": 2, "resolution": 64, "channels": 3, "width": 16}


def build(**more) -> ProjectedDiscriminator:
    torch.manual_seed(0)
    net = fold_norms(load_net(SHIPPED))
    shape = {"stem": net.config.stem, "stages": net.config.stages, "deep": net.config.deep}
    d = build_discriminator(SETTINGS | shape | more)
    d.load_backbone(net.state_dict())
    return d


def test_a_spectral_convolution_has_norm_one():
    torch.manual_seed(0)
    conv = SpectralConv2d(6, 5, 3)
    for _ in range(100):
        conv.iterate()
    largest = torch.linalg.svdvals(conv.weight.flatten(1))[0]
    x = torch.randn(2, 6, 8, 8)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight / largest, conv.bias, padding=1))
    assert torch.equal(conv(x), conv(x))  # passes do not move the estimate


def test_the_spectral_norm_is_differentiated():
    torch.manual_seed(0)
    conv = SpectralConv2d(2, 3, 3).double()
    for _ in range(200):
        conv.iterate()
    x = torch.randn(1, 2, 4, 4).double()

    def exact(weight):
        return F.conv2d(x, weight / torch.linalg.svdvals(weight.flatten(1))[0], conv.bias, padding=1).square().sum()

    (mine,) = torch.autograd.grad(conv(x).square().sum(), conv.weight)
    (wanted,) = torch.autograd.grad(exact(conv.weight), conv.weight)
    torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-8)


def test_it_looks_through_the_detectors_features():
    d, net, x = build(), load_net(SHIPPED), torch.rand(2, 3, 64, 64) * 2 - 1
    for mine, theirs in zip(d.features(x), net.features(x), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_only_the_heads_learn():
    d = build()
    d.requires_grad_(True)
    x = torch.rand(2, 3, 64, 64, requires_grad=True)
    sum(logits.mean() for logits in d.logits(x)).backward()
    learned = {name.split(".")[0] for name, parameter in d.named_parameters() if parameter.grad is not None}
    assert learned == {"heads", "image_head"} and x.grad.abs().max() > 0
    d.requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in d.parameters())


def test_features_score_patches_the_image_head_the_whole_and_the_score_is_their_mean():
    d, x = build(), torch.rand(3, 3, 64, 64)
    logits = d.logits(x)
    assert [each.shape for each in logits] == [(3, 4 * 16), (3, 1)]
    torch.testing.assert_close(d(x), torch.stack([each.mean(1) for each in logits], 1).mean(1, keepdim=True))


@pytest.mark.parametrize("channels", [1, 4])
def test_gray_and_transparent_images(channels):
    d = build(channels=channels)
    x = torch.rand(2, channels, 64, 64) * 2 - 1
    assert d(x).isfinite().all()
    if channels == 4:  # the features don't see the colors of transparent pixels
        hidden = torch.cat([torch.rand(2, 3, 64, 64), torch.full((2, 1, 64, 64), -1.0)], 1)
        other = torch.cat([torch.rand(2, 3, 64, 64), torch.full((2, 1, 64, 64), -1.0)], 1)
        assert all(torch.equal(a, b) for a, b in zip(d.features(hidden), d.features(other), strict=True))


def test_it_is_saved_and_loaded_with_its_generator(tmp_path):
    g = build_generator({"family": "stylegan2", "resolution": 64, "channel_base": 64, "z_dim": 8, "w_dim": 8})
    d, x = build(), torch.rand(1, 3, 64, 64)
    save(tmp_path / "m.safetensors", Model(g_ema=g.eval(), d=d))
    again = load(tmp_path / "m.safetensors").d
    assert isinstance(again, ProjectedDiscriminator) and again.settings() == d.settings()
    assert torch.equal(again(x), d(x))


def test_an_older_one_is_left_out_of_its_model(tmp_path, capsys):
    g = build_generator({"family": "stylegan2", "resolution": 64, "channel_base": 64, "z_dim": 8, "w_dim": 8})
    d = build()
    d.settings = lambda: {
        name: value for name, value in ProjectedDiscriminator.settings(d).items() if name != "version"
    }
    save(tmp_path / "m.safetensors", Model(g_ema=g.eval(), d=d))
    model = load(tmp_path / "m.safetensors")
    assert model.d is None and model.g_ema is not None
    assert "its projected discriminator is of an older version and left out" in capsys.readouterr().out
    with pytest.raises(FigmentError, match="of an older version, which this figment can't continue; start a new run"):
        build_discriminator(d.settings())


@pytest.mark.parametrize(("steps", "layers"), [(1, 5), (0, 4), (-1, 3)])
def test_the_image_head_gets_and_loses_layers(steps, layers):
    d, x = build(), torch.rand(2, 3, 64, 64) * 2 - 1
    new = adapt(Model(d=d), resolution=int(64 * 2**steps))[0].d
    assert len(new.image_head.down) == layers
    old, found = d.image_head(x), new.image_head(F.interpolate(x, scale_factor=2.0**steps))
    assert found.shape == old.shape and found.isfinite().all()
    assert torch.equal(new.image_head.dense.weight, d.image_head.dense.weight)


def test_it_is_adapted_to_other_sizes_and_colors():
    d = build()
    new, done = adapt(Model(d=d), resolution=128, channels=4)
    assert done == ["d: grown from 64 to 128 px", "d: RGB to RGBA"]
    opaque = torch.cat([torch.rand(1, 3, 128, 128), torch.ones(1, 1, 128, 128)], 1)
    rgb_only, _ = adapt(Model(d=d), resolution=128)
    torch.testing.assert_close(new.d(opaque), rgb_only.d(opaque[:, :3]))


def test_wrong_settings_are_one_line():
    with pytest.raises(FigmentError, match="projected discriminator: resolution 48: must be a multiple of 32"):
        build(resolution=48)
    with pytest.raises(FigmentError, match="projected discriminator: c_dim 3: .* has no labels"):
        build(c_dim=3)
