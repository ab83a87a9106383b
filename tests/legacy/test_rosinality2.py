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
from tests.legacy.reference import DATA, arrays, close, tensor


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


# --- Wrappings


def saved(path, value):
    torch.save(value, path)
    return load(path)


@pytest.fixture
def held(data):
    return torch.load(data / "ros2_tiny_converted.pt", weights_only=True)


def renamed(table, prefix):
    return {prefix + name: value for name, value in table.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "decoder.", "generator.", "generator.generator.", "module.decoder."])
@pytest.mark.parametrize("entry", ["g_ema", "state_dict", "params_ema", None])
def test_the_generator_is_found_in_any_wrapping(held, tmp_path, prefix, entry):
    table = renamed(held["g_ema"], prefix)
    value = table if entry is None else {entry: table}
    model = saved(tmp_path / "net.pt", {**value, "latent_avg": held["latent_avg"]})
    assert list(model.networks()) == ["g_ema"]
    assert torch.equal(model.g_ema.w_avg, held["latent_avg"].reshape(-1))
    close(model.g_ema(tensor(arrays("ros2_tiny")["z"])), arrays("ros2_tiny")["img_const"])
    assert model.config["dropped"] == []
    decoder = "decoder." in prefix
    assert model.config.get("notes") == ("the decoder of an encoder-and-decoder file" if decoder else None)


def test_a_mean_that_is_missing_is_estimated_and_noted(held, tmp_path):
    model = saved(tmp_path / "net.pt", held["g_ema"])
    assert model.config["notes"] == "w_avg is estimated from 4096 latents: the file has none"
    assert 0 < model.g_ema.w_avg.square().mean() < 10


def test_further_entries_are_dropped_and_named(held, tmp_path):
    more = {"iter": 100, "mean_path_length": torch.zeros([]), "opts": {"size": 32}}
    model = saved(tmp_path / "net.pt", {**held, **more})
    assert model.config["dropped"] == ["iter", "mean_path_length", "opts"]


def test_what_lies_beside_a_decoder_is_dropped_and_named(held, tmp_path):
    table = renamed(held["g_ema"], "decoder.") | {"encoder.body.0.weight": torch.zeros(3), "decoder_2": torch.zeros(1)}
    model = saved(tmp_path / "net.pt", {"state_dict": table, "latent_avg": held["latent_avg"]})
    assert model.config["dropped"] == ["decoder_2", "encoder"]
    nested = renamed(held["g_ema"], "generator.generator.") | {"generator.res.0.weight": torch.zeros(3)}
    assert saved(tmp_path / "net.pt", {"g_ema": nested}).config["dropped"] == ["generator.res"]


def test_encoders_keep_the_mean_once_per_layer(held, tmp_path):
    mean = held["latent_avg"].reshape(1, -1)
    model = saved(tmp_path / "net.pt", {**held, "latent_avg": mean.repeat(8, 1)})
    assert torch.equal(model.g_ema.w_avg, mean[0])
    for wrong in (torch.randn(8, mean.shape[1]), torch.zeros(3)):
        with pytest.raises(FigmentError, match=r"net\.pt: latent_avg "):
            saved(tmp_path / "net.pt", {**held, "latent_avg": wrong})


def test_a_whole_training_checkpoint_under_a_prefix(data, tmp_path):
    value = torch.load(data / "ros2_tiny_000100.pt", weights_only=False)
    for name in ("g", "g_ema", "d"):
        value[name] = renamed(value[name], "module.")
    model, known = saved(tmp_path / "net.pt", value), arrays("ros2_tiny")
    assert list(model.networks()) == ["g_ema", "g", "d"]
    close(model.d(tensor(known["img_const"])), known["D"])
    assert model.config["dropped"] == ["g_optim", "d_optim"]


def test_another_discriminator_is_dropped_and_named(held, tmp_path):
    model = saved(tmp_path / "net.pt", {**held, "d": {"heads.0.weight": torch.zeros(3)}})
    assert list(model.networks()) == ["g_ema"] and model.config["dropped"] == ["d"]


def test_missing_noise_maps_are_drawn_with_seed_0_and_noted(held, tmp_path):
    table = {name: value for name, value in held["g_ema"].items() if not name.startswith("noises.")}
    model = saved(tmp_path / "550000.pt", {**held, "g_ema": table})
    assert model.config["notes"] == "noise maps are drawn with seed 0: the file has none"
    assert torch.equal(model.g_ema.blocks[0].conv1.noise, torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    z, original = tensor(arrays("ros2_tiny")["z"]), load(DATA / "ros2_tiny_converted.pt").g_ema
    assert torch.equal(model.g_ema.synthesis(model.g_ema.mapping(z), "none"), original(z, noise="none"))
    again = saved(tmp_path / "again.pt", {**held, "g_ema": table})
    assert torch.equal(model.g_ema(z), again.g_ema(z))


def test_one_missing_noise_map_is_named(held, tmp_path):
    del held["g_ema"]["noises.noise_3"]
    with pytest.raises(FigmentError, match=r"g_ema: missing noises\.noise_3$"):
        saved(tmp_path / "net.pt", held)


def test_pictures_need_not_be_square(held, tmp_path):
    table = {name: value for name, value in held["g_ema"].items() if not name.startswith("noises.")}
    table["input.input"] = torch.randn(1, table["input.input"].shape[1], 4, 2)
    g = saved(tmp_path / "net.pt", {"g_ema": table}).g_ema
    assert g(torch.randn(1, 16)).shape == (1, 3, 32, 16)
