"""Snapshots of StyleGAN3's two configurations draw the images that the original program drew."""

from __future__ import annotations

import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.legacy import ada, torchfile
from figment.legacy.formats import load
from tests.legacy.reference import arrays, close, tensor

FILES = {"sg3t_tiny": "stylegan3-t", "sg3r_tiny": "stylegan3-r"}


@pytest.mark.parametrize("name", FILES)
def test_latents_images_and_logits(data, name):
    model, known = load(data / f"{name}.pkl"), arrays(name)
    assert model.origin == "NVlabs/stylegan3"
    z = tensor(known["z"])
    for part, g in (("G", model.g), ("G_ema", model.g_ema)):
        assert g.family.name == model.d.family.name == FILES[name]
        w = g.mapping(z)
        close(w, known[f"{part}_w"])
        close(g.mapping(z, truncation_psi=0.7, truncation_cutoff=8), known[f"{part}_w_psi07_cut8"])
        close(g.synthesis(w), known[f"{part}_img"])
        close(g(z, truncation_psi=0.5), known[f"{part}_img_psi05"])
        close(model.d(tensor(known[f"{part}_img"])), known[f"{part}_D"])


@pytest.mark.parametrize("name", FILES)
def test_the_users_transform_moves_the_picture(data, name):
    model, known = load(data / f"{name}.pkl"), arrays(name)
    model.g_ema.input.transform.copy_(tensor(known["transform"]))
    close(model.g_ema(tensor(known["z"])), known["G_ema_img_transformed"])


@pytest.mark.parametrize("name", FILES)
def test_a_picture_does_not_depend_on_its_batch(data, name):
    model, known = load(data / f"{name}.pkl"), arrays(name)
    for k, z in enumerate(tensor(known["z"])):
        close(model.g_ema(z[None])[0], known["G_ema_img_each_alone"][k])


def synthesis(value):
    return value["G_ema"].state["_modules"]["synthesis"]


def test_a_variant_is_refused(data):
    value = torchfile.read(data / "sg3t_tiny.pkl")
    synthesis(value).state["_modules"]["L5_52_16"].state["out_cutoff"] = np.float64(7.0)
    with pytest.raises(FigmentError, match=r"G_ema: a variant of StyleGAN3 .*: layer 5 has 52 samples at rate 32"):
        ada.read(value, "net.pkl")


def test_what_modules_do_not_say_has_the_originals_default(data):
    value, known = torchfile.read(data / "sg3t_tiny.pkl"), arrays("sg3t_tiny")
    for module in (synthesis(value), *synthesis(value).state["_modules"].values()):
        module.state = {
            name: part for name, part in module.state.items() if name.startswith("_") and "init" not in name
        }
    g = ada.read(value, "net.pkl").g_ema
    assert g.config.layers == 14
    close(g(tensor(known["z"])), known["G_ema_img"])


def test_a_missing_layer_is_named(data):
    value = torchfile.read(data / "sg3t_tiny.pkl")
    del synthesis(value).state["_modules"]["L5_52_16"]
    with pytest.raises(FigmentError, match=r"G_ema: layers are \[0, 1, 2, 3, 4, 6, .*expected 0, 1, 2"):
        ada.read(value, "net.pkl")


def test_left_over_variables_are_listed(data):
    value = torchfile.read(data / "sg3r_tiny.pkl")
    synthesis(value).state["_modules"]["L0_36_32"].state["_buffers"]["extra"] = np.zeros(3, np.float32)
    with pytest.raises(FigmentError, match=r"G_ema: left over: synthesis\.L0_36_32\.extra$"):
        ada.read(value, "net.pkl")
