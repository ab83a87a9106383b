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
from tests.legacy.foreign import tensorflow_discriminator, tensorflow_generator
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


# --- StyleGAN2-ADA


@pytest.mark.parametrize("name", ["tfada_tiny", "tfada_tiny_cond"])
def test_stylegan2_ada(data, name):
    model, known = load(data / f"{name}.pkl"), arrays(name)
    z, c = tensor(known["z"]), tensor(known["c"])
    assert model.origin == "NVlabs/stylegan2-ada"
    for part, g in (("G", model.g), ("Gs", model.g_ema)):
        close(g.mapping(z, c), known[f"{part}_w"])
        close(g(z, c), known[f"{part}_img_psi1"])
        close(g(z, c, truncation_psi=0.7), known[f"{part}_img_psi07"])
        close(g(z, c, truncation_psi=0.5, truncation_cutoff=4), known[f"{part}_img_psi05_cut4"])
        images = tensor(known[f"{part}_img_psi1"])
        close(model.d(images, c), known[f"{part}_D"])
        close(model.d(images[:2], c[:2]), known[f"{part}_D_batch2"])


def test_the_clamp_of_float16_training_is_the_networks_clamp(data):
    model = load(data / "tfada_tiny_cond.pkl")
    assert (model.g.config.clamp, model.g_ema.config.clamp, model.d.config.clamp) == (256, 256, 256)
    assert load(data / "tfada_tiny.pkl").g_ema.config.clamp is None
    assert load(data / "sg2_tiny.pkl").g_ema.config.clamp is None


def test_a_clamp_that_is_no_number_is_refused():
    with pytest.raises(FigmentError, match="conv_clamp='much'"):
        tensorflow.read((tensorflow_generator(conv_clamp="much"),), "net.pkl")


def test_mapping_layers_of_labels_have_their_own_learning_rate():
    d = tensorflow.read((tensorflow_discriminator(function="D_main", labels=4, depth=2),), "net.pkl").d
    assert (d.c_dim, d.config.map_depth, d.config.map_lr_mul) == (4, 2, 0.1)
    x, c = torch.randn(2, 3, 16, 16), torch.eye(4)[:2]
    mapped = d.mapper.embed(c)
    mapped = mapped / (mapped.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in d.mapper.layers:
        mapped = mapped @ layer.weight.t() * (0.1 / 8**0.5) + layer.bias * 0.1
        mapped = torch.maximum(mapped, mapped * 0.2) * 2**0.5
    close(d(x, c), ((d.outputs(x) * mapped).sum(1, keepdim=True) / 8**0.5).numpy(), 1e-5)


def test_the_learning_rate_of_the_mapping_is_read():
    g = tensorflow.read((tensorflow_generator(mapping_lrmul=0.1),), "net.pkl").g_ema
    assert g.config.map_lr_mul == 0.1


def test_the_minibatch_deviation_may_see_the_whole_batch():
    d = tensorflow.read((tensorflow_discriminator(mbstd_group_size=None),), "net.pkl").d
    assert d.minibatch_group == 0


# --- Forks


def test_settings_that_say_what_the_weights_say_are_no_obstacle():
    settings = {"resolution": 16, "resolution_h": 16, "resolution_w": 16, "never_heard_of": 3}
    model = tensorflow.read((tensorflow_generator(**settings), tensorflow_discriminator(**settings)), "net.pkl")
    assert model.g.size == model.d.size == (16, 16)


def test_a_size_that_the_weights_contradict_is_refused():
    with pytest.raises(FigmentError, match="resolution_w is 32, but its weights make 16x16 pixels"):
        tensorflow.read((tensorflow_generator(resolution_w=32, resolution_h=16),), "net.pkl")


@pytest.mark.parametrize("start", [(4, 2), (4, 5), (3, 5)])
def test_pictures_need_not_be_square(start):
    networks = (tensorflow_generator(start=start), tensorflow_discriminator(start=start))
    model = tensorflow.read(networks, "net.pkl")
    assert model.g.size == model.d.size == (4 * start[0], 4 * start[1])
    images = model.g(torch.randn(2, 8))
    assert images.shape == (2, 3, *model.g.size) and model.d(images).shape == (2, 1)


def test_wide_networks_with_more_statistics_in_the_discriminator():
    networks = (tensorflow_generator(1024, depth=4), tensorflow_discriminator(mbstd_channels=4))
    model = tensorflow.read(networks, "net.pkl")
    assert (model.g.z_dim, model.g.w_dim, model.g.map_depth) == (1024, 1024, 4)
    assert model.d.config.mbstd_channels == 4
    assert model.d(model.g(torch.randn(4, 1024))).shape == (4, 1)


SOURCE = """
def G_mapping(
    latents_in,                   # Latent vectors (Z) [minibatch, latent_size].
    mapping_lrmul     = 0.05,     # normalize_latents = True,
    normalize_latents = False,    # Normalize latent vectors (Z) before feeding them to the mapping layers?
    **_kwargs):
    pass

def G_other(normalize_latents=True):
    pass
"""


@pytest.mark.parametrize(
    ("settings", "source", "normalizes"),
    [
        ({}, "", True),
        ({"normalize_latents": True}, "", True),
        ({"normalize_latents": False}, "", False),
        ({}, SOURCE, False),
        ({"normalize_latents": True}, SOURCE, True),
        ({}, SOURCE.replace("= False", "= True"), True),
        ({}, "def G_mapping(latents_in, normalize_latents=False): pass", False),
    ],
)
def test_whether_latents_are_normalized_is_read_from_the_file(settings, source, normalizes):
    g = tensorflow.read((tensorflow_generator(source=source, **settings),), "net.pkl").g_ema
    assert g.config.normalize_z is normalizes
    z = torch.randn(2, 8)
    near = torch.allclose(g.mapping(z), g.mapping(z * 3), atol=1e-4)
    assert near is normalizes


def test_a_default_in_the_source_text_counts_for_other_settings_too():
    g = tensorflow.read((tensorflow_generator(source=SOURCE),), "net.pkl").g_ema
    assert g.config.map_lr_mul == 0.05


def test_stylegan1_without_normalization_is_refused(data):
    networks = torchfile.read(data / "sg1_tiny.pkl")
    networks[0].state["static_kwargs"]["normalize_latents"] = False
    with pytest.raises(FigmentError, match="normalize_latents=False"):
        tensorflow.read(networks, "net.pkl")


def test_a_block_that_is_missing_is_named():
    network = tensorflow_generator()
    part = network.state["components"]["synthesis"].state
    part["variables"] = [pair for pair in part["variables"] if not pair[0].startswith("8x8/")]
    with pytest.raises(FigmentError, match="blocks are 4x4, 16x16, expected 4x4, 8x8, 16x16"):
        tensorflow.read((network,), "net.pkl")


def test_an_oblong_discriminator_alone_is_refused():
    with pytest.raises(FigmentError, match="20 positions, which is not 4x4"):
        tensorflow.read((tensorflow_discriminator(start=(4, 5)),), "net.pkl")
