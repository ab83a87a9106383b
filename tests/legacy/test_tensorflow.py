"""NVIDIA's TensorFlow pickles draw the images that the original programs drew."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.legacy import tensorflow, torchfile
from figment.legacy.formats import load
from figment.legacy.pickle_vm import Record
from tests.legacy.reference import arrays, close, tensor

LODS = {"0": 0.0, "04": 0.4, "1": 1.0, "17": 1.7, "3": 3.0}


def test_stylegan1_latents_images_and_logits(data):
    model, known = load(data / "sg1_tiny.pkl"), arrays("sg1_tiny")
    g, d, z = model.g_ema, model.d, tensor(known["z"])
    assert model.origin == "NVlabs/stylegan"
    close(g.mapping(z), known["w"])
    close(model.g.mapping(z), known["G_w"])
    close(g.w_avg, known["dlatent_avg_Gs"])
    close(model.g.w_avg, known["dlatent_avg_G"])
    close(g(z), known["img_psi1"])
    close(g(z, truncation_psi=0.7, truncation_cutoff=8), known["img_psi07_cut8"])
    close(g(z, truncation_psi=0.5), known["img_psi05_all"])
    close(model.g(z), known["img_G_psi1"])
    for name in ("psi1", "psi07_cut8", "psi05_all", "G_psi1"):
        close(d(tensor(known[f"img_{name}"])), known[f"d_{name}"])


def test_stylegan1_logits_depend_on_the_batch_as_in_the_original(data):
    model, known = load(data / "sg1_tiny.pkl"), arrays("sg1_tiny")
    both = tensor(np.concatenate([known["img_psi1"], known["img_psi05_all"]]))
    close(model.d(both), known["d_batch8"])
    close(model.d(both[:2]), known["d_batch2"])
    close(model.d(both[:1]), known["d_batch1"])


@pytest.mark.parametrize("name", LODS)
def test_stylegan1_at_every_lod(data, name):
    model, known = load(data / "sg1_tiny.pkl"), arrays("sg1_tiny")
    model.g_ema.lod = model.d.lod = LODS[name]
    z, drawn = tensor(known["z"]), known[f"img_lod{name}_recursive"]
    close(model.g_ema(z), drawn)
    close(model.d(tensor(drawn)), known[f"d_lod{name}_recursive"])
    close(model.d(tensor(known["img_psi1"])), known[f"d_psi1_at_lod{name}_recursive"])
    small = model.g_ema.synthesis(model.g_ema.mapping(z), full_size=False)
    close(model.d(small), known[f"d_lod{name}_recursive"])


def test_stylegan2(data):
    model, known = load(data / "sg2_tiny.pkl"), arrays("sg2_tiny")
    g, z = model.g_ema, tensor(known["z"])
    close(g.mapping(z), known["w"])
    close(g(z), known["img_psi1"])
    close(g(z, truncation_psi=0.7), known["img_psi07"])
    close(g(z, truncation_psi=0.5, truncation_cutoff=4), known["img_psi05_cut4"])
    close(model.g(z), known["G_img_psi1"])
    for name in ("img_psi1", "img_psi07", "img_psi05_cut4", "G_img_psi1"):
        close(model.d(tensor(known[name])), known[f"d_{name}"])


@pytest.mark.parametrize("name", LODS)
def test_progan_at_every_lod(data, name):
    model, known = load(data / "pg_tiny.pkl"), arrays("pg_tiny")
    model.g_ema.lod = model.d.lod = LODS[name]
    close(model.g_ema(tensor(known["z"])), known[f"img_lod{name}"])
    close(model.d(tensor(known[f"img_lod{name}"])), known[f"d_lod{name}"])


def test_a_left_over_variable_is_named(data):
    networks = torchfile.read(data / "sg1_tiny.pkl")
    networks[2].state["components"]["synthesis"].state["variables"].append(("8x8/Extra/weight", np.float32(0)))
    with pytest.raises(FigmentError, match=r"left over: synthesis/8x8/Extra/weight$"):
        tensorflow.read(networks, "net.pkl")


def test_a_missing_variable_is_named(data):
    networks = torchfile.read(data / "sg2_tiny.pkl")
    variables = networks[1].state["variables"]
    networks[1].state["variables"] = [pair for pair in variables if pair[0] != "Output/bias"]
    with pytest.raises(FigmentError, match="missing Output/bias"):
        tensorflow.read(networks, "net.pkl")


def test_unsupported_settings_are_refused(data):
    networks = torchfile.read(data / "sg1_tiny.pkl")
    networks[0].state["static_kwargs"]["use_pixel_norm"] = True
    with pytest.raises(FigmentError, match="use_pixel_norm=True"):
        tensorflow.read(networks, "net.pkl")


def test_other_architectures_are_refused_by_name(data):
    networks = torchfile.read(data / "sg1_tiny.pkl")
    networks[0].state["build_func_name"] = "G_biggest"
    with pytest.raises(FigmentError, match="G_biggest"):
        tensorflow.read(networks, "net.pkl")


def label_variables(network: Record, rng: np.random.RandomState) -> None:
    """Give the mapping of a StyleGAN generator 3 labels: an embedding, and a first layer twice as wide."""
    mapping = network.state["components"]["mapping"].state
    variables = dict(mapping["variables"])
    variables["LabelConcat/weight"] = rng.randn(3, 16).astype(np.float32)
    variables["Dense0/weight"] = rng.randn(32, 16).astype(np.float32) * 100
    mapping["variables"] = list(variables.items())


def test_labels_are_concatenated_with_z_and_normalized_with_it(data):
    networks = torchfile.read(data / "sg1_tiny.pkl")
    label_variables(networks[2], np.random.RandomState(1))
    g = tensorflow.read((copy.deepcopy(networks[2]),), "net.pkl").g_ema
    assert g.c_dim == 3
    z, c = torch.randn(2, 16), torch.eye(3)[:2]
    parts = torch.cat([z, c @ g.mapper.embed_weight], 1)
    x = parts / (parts.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in g.mapper.layers:
        x = x @ layer.weight.t() * (0.01 * (2 / layer.weight.shape[1]) ** 0.5) + layer.bias * 0.01
        x = torch.maximum(x, x * 0.2)
    close(g.mapping(z, c)[:, 0], x.numpy(), 1e-5)
