import pytest
import torch

from figment.base.errors import FigmentError
from figment.draw.blend import Blend, blend_layers, load_blended, scale_noise
from figment.draw.latents import seeds_to_w
from figment.draw.render import load_generator, render
from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_generator

FAMILIES = {
    "stylegan2": {"channel_base": 128, "z_dim": 8, "w_dim": 8, "map_depth": 2},
    "stylegan1": {"channel_base": 128, "z_dim": 8, "w_dim": 8, "map_depth": 2},
    "progan": {"channel_base": 128, "z_dim": 8},
    "lucidrains": {"widths": [8, 8, 8], "z_dim": 8, "map_depth": 2},
}


def build(family, seed=0):
    torch.manual_seed(seed)
    g = build_generator({"family": family, "resolution": 16, "channels": 3, **FAMILIES[family]}).eval()
    for name, value in g.named_parameters():
        if "noise" in name:
            torch.nn.init.constant_(value, 0.3)
    return g


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layers_weights_are_those_that_its_latent_reaches(family):
    g = build(family)
    assert g.num_weight_layers == (3 if family in ("progan", "lucidrains") else 6)
    if family == "progan":
        return
    # Only the weights of a layer's own style answer to that layer's latent.
    styles = [
        name
        for name, _ in g.named_parameters()
        if any(part in name for part in ("affine.weight", "style.weight", "conv1.style", "conv2.style"))
        and name.endswith("weight")
    ]
    assert styles
    for layer in range(g.num_layers):
        w = torch.zeros(1, g.num_layers, g.w_dim)
        w[:, layer] = 1
        g.zero_grad()
        g.synthesis(w, noise="none").square().sum().backward()
        touched = [name for name in styles if g.get_parameter(name).grad.abs().sum() > 0]
        # The colours of StyleGAN2 share their latent with the next block's first layer.
        assert touched and {g.layer_of(name) for name in touched} == {layer}


@pytest.mark.parametrize("family", FAMILIES)
def test_all_layers_of_another_model_are_its_pictures(family):
    g, other = build(family, 0), build(family, 1)
    ws = seeds_to_w(g, [1, 2])
    mine, theirs = render(g, ws), render(other, ws)
    blend_layers(g, other, f"0-{g.num_weight_layers - 1}", 0.0)
    assert (render(g, ws) == mine).all()
    blend_layers(g, other, "1-1")
    assert (render(g, ws) != mine).any() and (render(g, ws) != theirs).any()
    blend_layers(g, other, f"0-{g.num_weight_layers - 1}")
    if family != "lucidrains":  # whose noise belongs to no layer
        assert (render(g, ws) == theirs).all()


def test_models_are_blended_from_their_files(tmp_path, model):
    torch.manual_seed(5)
    config = load_generator(model)[0].settings()
    save(tmp_path / "b.safetensors", Model(g_ema=build_generator(config).eval(), config={}))
    g = load_blended(model, (Blend(tmp_path / "b.safetensors", "0-3", 0.5),))
    a, b = load_generator(model)[0], load_generator(tmp_path / "b.safetensors")[0]
    assert torch.allclose(g.const, (a.const + b.const) / 2) and torch.equal(g.w_avg, a.w_avg)
    assert torch.equal(g.blocks[2].conv1.weight, a.blocks[2].conv1.weight)


def test_unlike_models_are_one_line():
    g = build("stylegan2")
    for other, layers, amount, flag in (
        (build("stylegan1"), "0-1", 1.0, "--blend"),
        (build("stylegan2"), "9-9", 1.0, "--blend-layers"),
        (build("stylegan2"), "0-1", 2.0, "--blend-amount"),
    ):
        with pytest.raises(FigmentError, match=flag):
            blend_layers(g, other, layers, amount)


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_is_scaled_by_layer(family):
    g = build(family)
    if family == "progan":
        with pytest.raises(FigmentError, match="--noise-strength"):
            scale_noise(g, "0")
        return
    ws = seeds_to_w(g, [1])
    silent, none = render(scale_noise(g, "0"), ws), render(g, ws, "none")
    assert (silent == none).all() and (render(g, ws) != none).any()
    assert (render(scale_noise(g, "1"), ws) == render(g, ws)).all()
    assert (render(scale_noise(g, "0-1:0"), ws) != none).any()


@pytest.mark.parametrize("text", ["nan", "0-1:inf", "1e30", "0-1:-1e9", ""])
def test_an_extreme_factor_of_noise_is_one_line(text):
    with pytest.raises(FigmentError, match=f"--noise-strength '{text}': must be a factor .* from -1000 to 1000"):
        scale_noise(build("stylegan2"), text)


@pytest.mark.parametrize(("text", "layers"), [("0,0", "all layers"), ("0-1:0,coarse:2,0-1:1", "layers 0-1")])
def test_two_factors_of_the_same_layers_are_refused(text, layers):
    with pytest.raises(FigmentError, match=f"--noise-strength '{text}': has two factors for {layers}"):
        scale_noise(build("stylegan2"), text)


def test_a_blend_that_is_no_model_is_named_with_its_option(model, tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path, tmp_path / "file", tmp_path / ("n" * 300)):
        with pytest.raises(FigmentError, match=f"^--blend {path}: "):
            load_blended(model, (Blend(path),))
