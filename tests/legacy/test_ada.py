"""Snapshots of stylegan2-ada-pytorch and the stylegan3 repository draw the images that those programs drew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.base.parse import seeds_to_z
from figment.legacy import ada, torchfile
from figment.legacy.formats import load
from figment.legacy.pickle_vm import Foreign
from tests.legacy.foreign import dumps, module, reshape_start
from tests.legacy.reference import arrays, close, tensor


@pytest.mark.parametrize("name", ["ada_tiny", "ada_tiny_cond", "sg3repo_tiny"])
def test_latents_images_and_logits(data, name):
    model, known = load(data / f"{name}.pkl"), arrays(name)
    z, c = tensor(known["z"]), tensor(known["c"])
    for part, g in (("G", model.g), ("G_ema", model.g_ema)):
        w = g.mapping(z, c)
        close(w, known[f"{part}_w"])
        close(g.mapping(z, c, truncation_psi=0.7, truncation_cutoff=8), known[f"{part}_w_psi07_cut8"])
        close(g.synthesis(w, noise="const"), known[f"{part}_img_const"])
        close(g.synthesis(w, noise="none"), known[f"{part}_img_none"])
        close(g(z, c, truncation_psi=0.5), known[f"{part}_img_psi05"])
        close(model.d(tensor(known[f"{part}_img_const"]), c), known[f"{part}_D"])


def test_seeds_give_the_latents_of_the_original_tools():
    np.testing.assert_array_equal(seeds_to_z([0, 1, 2, 3], 16), arrays("ada_tiny")["z"])


def test_labels_change_the_image(data):
    model, known = load(data / "ada_tiny_cond.pkl"), arrays("ada_tiny_cond")
    z, c = tensor(known["z"]), tensor(known["c"])
    assert model.g_ema.c_dim == 5
    assert (model.g_ema(z, c) - model.g_ema(z, c.flip(1))).abs().max() > 0.01


def test_settings_of_the_training_set_are_kept(data):
    assert load(data / "ada_tiny.pkl").config["data"]["resolution"] == 32


def test_activations_are_clamped_if_the_snapshot_says_so(data):
    assert load(data / "sg3repo_tiny.pkl").g_ema.config.clamp == 256
    assert load(data / "ada_tiny.pkl").g_ema.config.clamp is None


def test_left_over_variables_are_listed(data):
    value = torchfile.read(data / "ada_tiny.pkl")
    state = value["G_ema"].state["_modules"]["synthesis"].state
    state["_buffers"]["extra"] = np.zeros(3, np.float32)
    state["_buffers"]["more"] = np.zeros(3, np.float32)
    with pytest.raises(FigmentError, match=r"G_ema: left over: synthesis\.extra, synthesis\.more$"):
        ada.read(value, "net.pkl")


def test_another_resampling_filter_is_refused(data):
    value = torchfile.read(data / "ada_tiny.pkl")
    block = value["G"].state["_modules"]["synthesis"].state["_modules"]["b8"].state
    block["_buffers"]["resample_filter"] = np.outer([1, 2, 2, 1], [1, 2, 2, 1]).astype(np.float32)
    with pytest.raises(FigmentError, match=r"synthesis\.b8\.resample_filter is not the usual filter"):
        ada.read(value, "net.pkl")


def test_another_architecture_is_refused(data):
    value = torchfile.read(data / "ada_tiny.pkl")
    value["D"].state["_modules"]["b16"].state["architecture"] = "orig"
    with pytest.raises(FigmentError, match="architecture='orig'"):
        ada.read(value, "net.pkl")


# --- Snapshots of forks and of other programs


def write(path, value):
    path.write_bytes(dumps(value))
    return load(path)


def test_other_entries_are_dropped_and_named(data, tmp_path):
    value = torchfile.read(data / "ada_tiny.pkl")
    more = {"progress": {"cur_nimg": 5000}, "D_ema": value["D"], "G_opt": Foreign("Adam", module="torch.optim.adam")}
    model = write(tmp_path / "net.pkl", {**value, **more, "pl_mean": None})
    assert model.config["dropped"] == ["progress", "D_ema", "G_opt"]
    known, z = arrays("ada_tiny"), tensor(arrays("ada_tiny")["z"])
    close(model.g_ema.synthesis(model.g_ema.mapping(z)), known["G_ema_img_const"])
    close(model.d(tensor(known["G_img_const"])), known["G_D"])
    assert "dropped" not in load(data / "ada_tiny.pkl").config


def test_networks_without_a_snapshot_around_them(data, tmp_path):
    value, known = torchfile.read(data / "ada_tiny.pkl"), arrays("ada_tiny")
    alone = write(tmp_path / "g.pkl", value["G_ema"])
    assert list(alone.networks()) == ["g_ema"]
    close(alone.g_ema.mapping(tensor(known["z"])), known["G_ema_w"])
    assert list(write(tmp_path / "d.pkl", value["D"]).networks()) == ["d"]
    three = write(tmp_path / "three.pkl", (value["G"], value["D"], value["G_ema"]))
    close(three.g.mapping(tensor(known["z"])), known["G_w"])
    close(three.g_ema.mapping(tensor(known["z"])), known["G_ema_w"])
    with pytest.raises(FigmentError, match="Generator, Generator, and figment can't tell which is which"):
        write(tmp_path / "two.pkl", [value["G"], value["G_ema"]])


PROJECTED = Foreign("ProjectedDiscriminator", {"feature_network": None}, module="pg_modules.discriminator")


def test_the_generator_of_a_projected_gan_is_read_without_its_discriminator(data, tmp_path):
    value = {**torchfile.read(data / "ada_tiny.pkl"), "D": PROJECTED}
    model = write(tmp_path / "net.pkl", value)
    assert list(model.networks()) == ["g_ema", "g"]
    assert model.config["dropped"] == ["D"]
    expected = "its discriminator, a pg_modules.discriminator.ProjectedDiscriminator, is left out"
    assert model.config["notes"] == expected
    with pytest.raises(FigmentError, match="is left out, and it holds no generator"):
        write(tmp_path / "d.pkl", {"D": PROJECTED})


def test_plainly_pickled_modules_of_the_usual_names_are_read(data, tmp_path):
    def plain(record):
        state = {**record.state, "_modules": {name: plain(part) for name, part in record.state["_modules"].items()}}
        return Foreign(record.kind, state, module="training.networks")

    value, known = torchfile.read(data / "ada_tiny.pkl"), arrays("ada_tiny")
    model = write(tmp_path / "net.pkl", {"G_ema": plain(value["G_ema"]), "D": plain(value["D"])})
    close(model.g_ema.mapping(tensor(known["z"])), known["G_ema_w"])
    close(model.d(tensor(known["G_ema_img_const"])), known["G_ema_D"])


def r3gan(outer):
    outer.state["_modules"] = {"Model": Foreign("Generator", {"_modules": {}}, module="R3GAN.Networks")}
    return outer


STRANGERS = {
    "Projected GAN": {
        "G": Foreign("Generator", {"_modules": {}}, module="pg_modules.networks_fastgan"),
        "D": PROJECTED,
    },
    "StyleGAN-XL": {"G": module("SuperresGenerator", mapping=module("MappingNetwork"))},
    "StyleGAN-XL ": {"G": module("Generator", synthesis=module("S", input=module("I"))), "D": PROJECTED},
    "R3GAN": {"G": r3gan(module("Generator")), "cur_nimg": 5},
    "R3GAN ": {"G_ema": r3gan(Foreign("Generator", {}, module="training.networks"))},
}


@pytest.mark.parametrize("program", STRANGERS)
def test_networks_of_other_programs_are_named(tmp_path, program):
    with pytest.raises(FigmentError, match=f"is a network of {program.strip()}, which figment does not draw"):
        write(tmp_path / "net.pkl", STRANGERS[program])


def test_another_generator_is_named_for_what_it_is(tmp_path):
    with pytest.raises(FigmentError, match="G: a Generator whose blocks are not StyleGAN2's"):
        write(tmp_path / "net.pkl", {"G": Foreign("Generator", {"_modules": {}}, module="training.networks")})
    with pytest.raises(FigmentError, match="G_ema: is a 'Sequential', expected a Generator"):
        write(tmp_path / "net.pkl", Foreign("Sequential", {"_modules": {}}, module="torch.nn.modules.container"))


@pytest.mark.parametrize("start", [(4, 2), (4, 5), (2, 4), (5, 3)])
def test_pictures_need_not_be_square(data, tmp_path, start):
    value = torchfile.read(data / "ada_tiny.pkl")
    for network in (value["G"], value["D"], value["G_ema"]):
        reshape_start(network, start)
    model = write(tmp_path / "net.pkl", value)
    assert model.g_ema.size == model.d.size == (8 * start[0], 8 * start[1])
    images = model.g_ema(torch.randn(2, 16))
    assert images.shape == (2, 3, 8 * start[0], 8 * start[1])
    assert model.d(images).shape == (2, 1)


def test_the_sides_of_a_discriminator_alone_are_known_only_of_a_square(data, tmp_path):
    value = torchfile.read(data / "ada_tiny.pkl")
    with pytest.raises(FigmentError, match="D: its last block has 20 positions, which is not 4x4"):
        write(tmp_path / "net.pkl", {"D": reshape_start(value["D"], (4, 5))})
    with pytest.raises(FigmentError, match="20 positions, which is not the generator's 4x4"):
        write(tmp_path / "net.pkl", value)


def test_labels_may_be_embedded_without_further_layers(data):
    value = torchfile.read(data / "ada_tiny_cond.pkl")
    layers = value["D"].state["_modules"]["mapping"].state["_modules"]
    for name in [name for name in layers if name.startswith("fc")]:
        del layers[name]
    d = ada.read(value, "net.pkl").d
    assert d.config.map_depth == 0
    x, c = torch.randn(2, 3, 32, 32), torch.eye(5)[:2]
    embedded = d.mapper.embed(c)
    embedded = embedded / (embedded.square().mean(1, keepdim=True) + 1e-8).sqrt()
    close(d(x, c), ((d.outputs(x) * embedded).sum(1, keepdim=True) / 4).numpy(), 1e-5)
