"""Snapshots of stylegan2-ada-pytorch and the stylegan3 repository draw the images that those programs drew."""

from __future__ import annotations

import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.parse import seeds_to_z
from figment.legacy import ada, torchfile
from figment.legacy.formats import load
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
