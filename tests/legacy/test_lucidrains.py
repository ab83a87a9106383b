"""lucidrains' networks draw the images that the original program drew, with [0, 1] mapped to [-1, 1]."""

from __future__ import annotations

import pytest
import torch

from figment.base.errors import FigmentError
from figment.legacy import lucidrains, torchfile
from figment.legacy.formats import load
from tests.legacy.reference import arrays, close, tensor


def test_latents_images_and_logits(data):
    model, known = load(data / "luc_tiny_model_1.pt"), arrays("luc_tiny")
    g, z = model.g_ema, tensor(known["z"])
    close(g.mapping(z)[:, 0], known["w"])
    for n in range(4):
        g.noise.copy_(tensor(known["noise"][n, :, :, 0]))
        close((g(z[n : n + 1]) + 1) / 2, known["img_ema"][n : n + 1])
    close(model.d(tensor(known["img_ema"]) * 2 - 1)[:, 0], known["D"])


def test_the_settings_beside_the_file_are_read(data, tmp_path):
    copied = tmp_path / "model_7.pt"
    copied.write_bytes((data / "luc_tiny_model_1.pt").read_bytes())
    text = (data / "luc_tiny_config.json").read_text()
    (tmp_path / ".config.json").write_text(text.replace('"lr_mlp": 0.1', '"lr_mlp": 0.5'))
    assert load(copied).g_ema.config.map_lr_mul == 0.5
    assert load(data / "luc_tiny_model_1.pt").g_ema.config.map_lr_mul == 0.1


def test_a_discriminator_under_two_names_must_be_the_same(data):
    value = torchfile.read(data / "luc_tiny_model_1.pt")
    value["GAN"]["D_aug.D.to_logit.bias"] = value["GAN"]["D.final_conv.bias"]
    with pytest.raises(FigmentError, match=r"D_aug\.D\.to_logit\.bias, which differs"):
        lucidrains.read(value, "model.pt")


def test_attention_is_refused_as_left_over(data):
    value = torchfile.read(data / "luc_tiny_model_1.pt")
    value["GAN"]["G.attns.0.fn.g"] = value["GAN"]["D.to_logit.bias"]
    with pytest.raises(FigmentError, match=r"left over: G\.attns\.0\.fn\.g$"):
        lucidrains.read(value, "model.pt")


def test_random_noise_follows_its_generator(data):
    g = load(data / "luc_tiny_model_1.pt").g_ema
    w = g.mapping(torch.randn(1, 16))
    first = g.synthesis(w, "random", torch.Generator().manual_seed(3))
    assert torch.equal(first, g.synthesis(w, "random", torch.Generator().manual_seed(3)))
    assert not torch.equal(first, g.synthesis(w, "random", torch.Generator().manual_seed(4)))


def test_files_of_every_version_open(data, tmp_path):
    value = torch.load(data / "luc_tiny_model_1.pt", weights_only=True)
    scaler = {"loss_scaler0": {"loss_scale": 2.0, "unskipped": 1}}
    forms = {
        "mixed precision": ({**value, "amp": scaler}, ["amp"]),
        "no version": ({"GAN": value["GAN"]}, None),
        "no envelope": (value["GAN"], None),
    }
    for content, dropped in forms.values():
        torch.save(content, tmp_path / "model_1.pt")
        model = load(tmp_path / "model_1.pt")
        assert list(model.networks()) == ["g_ema", "g", "d"]
        assert model.config.get("dropped") == dropped
        close(model.g_ema.mapping(tensor(arrays("luc_tiny")["z"]))[:, 0], arrays("luc_tiny")["w"])
