"""rosinality's StyleGAN2 draws the images that the original program drew, and files converted back are identical."""

from __future__ import annotations

import pytest
import torch

from figment.base.errors import FigmentError
from figment.legacy import rosinality2, torchfile
from figment.legacy.formats import load
from figment.models import convert
from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_generator
from tests.legacy.reference import arrays, close, tensor


def test_latents_images_and_logits(data):
    model, known = load(data / "ros2_tiny_000100.pt"), arrays("ros2_tiny")
    g, z = model.g_ema, tensor(known["z"])
    close(g.mapping(z), known["w"])
    close(g(z), known["img_const"])
    close(model.d(tensor(known["img_const"])), known["D"])
    g.w_avg.copy_(tensor(known["trunc_latent"][0]))
    close(g(z, truncation_psi=0.7), known["img_psi07"])


def test_a_converted_file_holds_its_mean_latent(data):
    model, value = load(data / "ros2_tiny_converted.pt"), torchfile.read(data / "ros2_tiny_converted.pt")
    assert model.g is None and model.d is None
    assert torch.equal(model.g_ema.w_avg, torch.tensor(value["latent_avg"].array().reshape(-1)))
    close(model.g_ema(tensor(arrays("ros2_tiny")["z"])), arrays("ros2_tiny")["img_const"])


def test_other_entries_of_a_checkpoint_are_noted(data):
    config = load(data / "ros2_tiny_000100.pt").config
    assert config["ada_p"] == 0.25
    assert config["dropped"] == ["g_optim", "d_optim"]
    assert config["training"]["size"] == 32


def test_converting_back_gives_the_same_bits(data, tmp_path):
    source = data / "ros2_tiny_converted.pt"
    convert(source, tmp_path / "m.safetensors")
    convert(tmp_path / "m.safetensors", tmp_path / "back.pt", to="rosinality")
    before = torch.load(source, weights_only=True)
    after = torch.load(tmp_path / "back.pt", weights_only=True)
    assert before["g_ema"].keys() == after["g_ema"].keys()
    for name, value in before["g_ema"].items():
        assert value.shape == after["g_ema"][name].shape, name
        assert torch.equal(value, after["g_ema"][name]), name
    assert torch.equal(before["latent_avg"].reshape(-1), after["latent_avg"].reshape(-1))


def test_the_discriminator_is_converted_back_too(data, tmp_path):
    convert(data / "ros2_tiny_000100.pt", tmp_path / "back.pt", to="rosinality")
    before = torch.load(tmp_path / "back.pt", weights_only=True)["d"]
    known = torchfile.read(data / "ros2_tiny_000100.pt")["d"]
    assert before.keys() == known.keys()
    assert all(torch.equal(value, torch.tensor(known[name].array())) for name, value in before.items())


def test_unsupported_settings_are_named(tmp_path):
    config = {"family": "stylegan2", "resolution": 8, "channels": 4, "z_dim": 4, "w_dim": 4, "channel_max": 4}
    save(tmp_path / "m.safetensors", Model(g_ema=build_generator({**config, "c_dim": 2})))
    with pytest.raises(FigmentError, match=r"with c_dim=2, channels=4$"):
        convert(tmp_path / "m.safetensors", tmp_path / "m.pt", to="rosinality")
    assert not (tmp_path / "m.pt").exists()


def test_left_over_variables_are_listed(data):
    value = torchfile.read(data / "ros2_tiny_converted.pt")
    value["g_ema"]["convs.6.conv.strange"] = value["latent_avg"]
    with pytest.raises(FigmentError, match=r"g_ema: left over: convs\.6\.conv\.strange$"):
        rosinality2.read(value, "net.pt")
