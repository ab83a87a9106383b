"""rosinality's StyleGAN draws the images that the original program drew, at every step and alpha."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from figment.legacy import rosinality1, torchfile
from figment.legacy.formats import load
from figment.legacy.variables import Variables
from tests.legacy.reference import arrays, close, tensor

STEPS = [(step, alpha) for step in (2, 3, 4) for alpha in ("full", "a04", "psi07")]


@pytest.mark.parametrize(("step", "alpha"), STEPS)
def test_images_and_logits(data, step, alpha):
    known = arrays("ros1_tiny")
    model = load(data / "ros1_tiny_train_step-4.model")
    g, d, z = model.g_ema, model.d, tensor(known["z"])
    g.lod = d.lod = 8 - step + (0.6 if alpha == "a04" else 0)
    g.w_avg.copy_(tensor(known["mean_style"][0]))
    w = g.mapping(z, truncation_psi=0.7 if alpha == "psi07" else 1)
    drawn = known[f"img_step{step}_{alpha}"]
    for n in range(2):
        # The program draws a noise map for each sample and uses it in both layers of a block.
        for level in range(5):
            for layer in (g.blocks[level].layer0, g.blocks[level].layer1):
                layer.noise.copy_(tensor(known[f"noise{level}"][n, 0]))
        close(g.synthesis(w[n : n + 1], full_size=False), drawn[n : n + 1])
    if alpha != "psi07":
        close(d(tensor(drawn)), known[f"D_step{step}_{alpha}"])


def test_latents(data):
    known = arrays("ros1_tiny")
    close(load(data / "ros1_tiny.model").g_ema.mapping(tensor(known["z"]))[:, 0], known["w"])


def test_the_file_name_says_how_far_training_had_come(data):
    assert load(data / "ros1_tiny_train_step-4.model").g_ema.lod == 4
    assert load(data / "ros1_tiny.model").g_ema.lod == 0


def test_an_ema_file_holds_the_averaged_generator_of_the_checkpoint(data):
    alone, whole = load(data / "ros1_tiny.model"), load(data / "ros1_tiny_train_step-4.model")
    assert alone.g is None and alone.d is None and whole.g is not None
    assert all(
        torch.equal(a, b)
        for a, b in zip(alone.g_ema.state_dict().values(), whole.g_ema.state_dict().values(), strict=True)
    )


def test_fused_upsampling_is_the_programs_transposed_convolution():
    # The program: pad, sum of four shifts, a quarter of it, transposed convolution of stride 2.
    random = np.random.RandomState(0)
    weight, bias = random.randn(6, 5, 3, 3).astype(np.float32), random.randn(5).astype(np.float32)
    x = torch.from_numpy(random.randn(2, 6, 8, 8).astype(np.float32))
    padded = F.pad(torch.from_numpy(weight), [1, 1, 1, 1])
    kernel = sum(padded[:, :, a : a + 4, b : b + 4] for a in (0, 1) for b in (0, 1)) / 4
    wanted = F.conv_transpose2d(x, kernel, torch.from_numpy(bias), stride=2, padding=1)

    variables = Variables({"0.weight": weight, "0.bias": bias}, "test")
    ours, ours_bias = rosinality1.read_upsampling_layer(variables, "")
    assert ours.shape == (5, 6, 3, 3)
    enlarged = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), ours, ours_bias, padding=1)
    close(enlarged, wanted.numpy(), 1e-5)


def test_further_entries_are_dropped_and_named(data):
    value = torchfile.read(data / "ros1_tiny_train_step-4.model")
    model = rosinality1.read({**value, "iteration": 5}, "net.model", "train_step-4.model")
    assert model.config["dropped"] == ["g_optimizer", "d_optimizer", "iteration"]
