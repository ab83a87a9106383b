"""StyleGAN3: its plan of cutoffs and sizes, what moves its pictures, and its derivatives."""

import math

import pytest
import torch
import torch.nn.functional as F

from figment.base.errors import FigmentError
from figment.nets.ops import resampled_lrelu_reference
from figment.nets.registry import build_discriminator, build_generator, get_family
from figment.nets.stylegan3 import Layer, StyleGAN3Config, layer_widths, signals

TINY = {"resolution": 32, "channel_base": 256, "channel_max": 8, "z_dim": 4, "w_dim": 6}
KINDS = ["stylegan3-t", "stylegan3-r"]


def generator(name: str, **settings: int):
    torch.manual_seed(0)
    return build_generator({"family": name, **TINY, **settings}).requires_grad_(False)


def test_the_plan_is_that_of_the_paper():
    # 1024 pixels, as in figure 4c and table 1 of the paper.
    plan = signals(StyleGAN3Config(resolution=1024))
    assert [signal.size for signal in plan] == [
        36,
        36,
        52,
        52,
        84,
        148,
        148,
        276,
        276,
        532,
        1044,
        1044,
        1044,
        1024,
        1024,
    ]
    assert plan[0].cutoff == 2
    assert [round(signal.cutoff, 3) for signal in plan[-3:]] == [512] * 3
    assert plan[6].cutoff / plan[5].cutoff == pytest.approx(256 ** (1 / 12))


def test_layers_get_narrower_as_the_cutoff_rises_and_1x1_kernels_are_twice_as_wide():
    widths = layer_widths(StyleGAN3Config(resolution=1024))
    assert widths[0] == widths[1] == 512
    assert widths[-1] == 32768 // 1024
    assert layer_widths(StyleGAN3Config(resolution=1024, kernel=1)) == pytest.approx([2 * w for w in widths], abs=1)


@pytest.mark.parametrize("name", KINDS)
def test_a_shift_moves_the_picture(name):
    g = generator(name)
    w = g.mapping(torch.randn(2, 4))
    still = g.synthesis(w)
    g.move(shift=(3 / 32, -5 / 32))
    moved = g.synthesis(w)
    inside = moved[:, :, :24, 6:] - still[:, :, 5:29, 3:29]
    assert inside.square().mean() < 1e-4 * still.var()


def test_a_rotation_moves_the_picture_if_the_network_is_made_for_it():
    g = generator("stylegan3-r", resolution=64, channel_base=512)
    w = g.mapping(torch.randn(2, 4))
    still = g.synthesis(w)
    g.move(degrees=90)
    moved = g.synthesis(w)
    assert (moved - still.rot90(1, (2, 3))).square().mean() < 0.01 * still.var()
    assert (moved - still).square().mean() > 0.1 * still.var()


def test_w_moves_the_picture_as_the_user_does():
    g = generator("stylegan3-t")
    w = g.mapping(torch.randn(1, 4))
    g.move(degrees=30, shift=(0.1, 0.0))
    by_user = g.synthesis(w)
    g.move()
    angle = math.radians(30)
    g.input.affine.bias.copy_(torch.tensor([math.cos(angle), math.sin(angle), 0.1, 0.0]))
    torch.testing.assert_close(g.synthesis(w), by_user, atol=1e-4, rtol=1e-3)


def test_other_networks_do_not_move():
    g = build_generator({"family": "stylegan2", "resolution": 16, "channel_base": 64})
    with pytest.raises(FigmentError, match="networks of family stylegan2 can't move their pictures"):
        g.move(degrees=5)


def test_magnitudes_follow_the_inputs_of_the_layers():
    g = generator("stylegan3-t")
    w = g.mapping(torch.randn(4, 4))
    images, observed = g.observed_synthesis(w, "none", None)
    torch.testing.assert_close(images, g.synthesis(w))
    assert observed.shape == (g.num_layers - 1,)
    g.update_observed(observed, images=20_000)  # half-life
    torch.testing.assert_close(g.layers[0].magnitude, (1 + observed[0]) / 2)
    torch.testing.assert_close(g.rgb.magnitude, (1 + observed[-1]) / 2)


@pytest.mark.parametrize("name", KINDS)
def test_every_weight_belongs_to_a_layer_or_to_the_mapping_network(name):
    g = generator(name)
    layers = {key: g.layer_of(key) for key in g.state_dict()}
    assert set(layers.values()) == {None, *range(g.num_layers)}
    assert layers["input.freqs"] == 0
    assert layers["layers.3.weight"] == 4
    assert layers["rgb.bias"] == 15
    assert len(g.style_weights()) == g.num_layers


def plain_layer(layer, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Compute a layer as the paper writes it, one sample after the other."""
    rows = []
    for sample, style in zip(x, layer.affine(w), strict=True):
        weight = layer.weight * style[:, None, None]
        weight = weight / weight.square().sum([1, 2, 3], keepdim=True).sqrt() / layer.magnitude.sqrt()
        rows.append(F.conv2d(sample[None], weight, layer.bias, padding=weight.shape[2] - 1))
    filters = layer.up_filter, layer.down_filter
    return resampled_lrelu_reference(torch.cat(rows), *filters, layer.up, layer.down, layer.padding, math.sqrt(2))


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_those_of_the_plain_computation(name, monkeypatch):
    torch.manual_seed(0)
    g = build_generator({"family": name, **TINY, "channel_base": 64, "channel_max": 2}).double()
    d = build_discriminator({"family": name, "resolution": 32, "channel_base": 64, "channel_max": 4}).double()
    z = torch.randn(2, 4, dtype=torch.float64)

    def gradients() -> list[torch.Tensor]:
        g.zero_grad()
        F.softplus(-d(g(z))).mean().backward()
        return [parameter.grad.clone() for parameter in g.parameters()]

    fast = gradients()
    monkeypatch.setattr(Layer, "forward", plain_layer)
    for (key, parameter), found, expected in zip(g.named_parameters(), fast, gradients(), strict=True):
        assert parameter.grad.abs().sum() > 0, key
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9, msg=key)


def test_the_discriminator_is_that_of_stylegan2():
    d = get_family("stylegan3-r").build_discriminator({"resolution": 32, "channel_base": 64})
    assert d.family.name == "stylegan3-r"
    assert d(torch.zeros(4, 3, 32, 32)).shape == (4, 1)


def test_too_few_layers_are_one_line():
    with pytest.raises(FigmentError, match="stylegan3-t generator: 2 layers at resolution 32: too few"):
        build_generator({"family": "stylegan3-t", **TINY, "layers": 2})
    with pytest.raises(FigmentError, match="filter_size 500000, oversampling 2: too large"):
        build_generator({"family": "stylegan3-r", **TINY, "filter_size": 500_000})
    with pytest.raises(FigmentError, match=r"widths \(4, 4\): must name 15 layers"):
        build_generator({"family": "stylegan3-t", **TINY, "widths": [4, 4]})
