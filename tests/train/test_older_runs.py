"""Runs written by commit 898d8a0 (checkpoints without a format) resume as they would have there.

On Intel CPUs with AVX-512, where the data were made, every weight agrees within rounding. Other CPUs, AMD's with
AVX-512 too, sum in another order, and Adam divides small gradients by their own size, so there the ten steps are
compared as a whole.

Each folder of data_898d8a0 has the run, the weights that 898d8a0 itself reached after ten more steps
(resumed.safetensors), and its images of seeds 0 to 3 (pictures.npz).
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import figment
from figment.draw.latents import seeds_to_w
from figment.draw.render import draw_pictures
from figment.train.run import resume_training
from figment.train.state import checkpoints

DATA = Path(__file__).parent / "data_898d8a0"
FAMILIES = ("stylegan2", "stylegan1")
CPU_INFO = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def weights_of(run):
    """Return copies of the run's weights by name."""
    model = figment.load(str(run))
    weights = {f"g_ema.{name}": value.clone() for name, value in model.g_ema.state_dict().items()}
    return weights | {f"d.{name}": value.clone() for name, value in model.d.state_dict().items()}


def distance(one, two):
    """Return the Euclidean distance between two sets of weights."""
    return sum((one[name].double() - two[name].double()).square().sum().item() for name in two) ** 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_an_older_run_goes_on_exactly_as_it_would_have(tmp_path, family):
    run = tmp_path / family
    shutil.copytree(DATA / family, run, ignore=shutil.ignore_patterns("resumed.safetensors", "pictures.npz"))
    before = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    start = weights_of(run)
    assert resume_training(run, data=DATA / "heads.zip", kimg=0.080, device="cpu") == run

    found, wanted = weights_of(run), load_file(DATA / family / "resumed.safetensors")
    assert found.keys() == wanted.keys()
    if "AVX512" in torch.backends.cpu.get_cpu_capability() and "GenuineIntel" in CPU_INFO:
        for name, value in wanted.items():
            scale = value.abs().max().item()
            np.testing.assert_allclose(found[name].numpy(), value.numpy(), rtol=1e-3, atol=1e-4 * scale, err_msg=name)
    assert distance(found, wanted) < 0.05 * distance(start, wanted)
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert rows[: len(before)] == before
    assert len(rows) == len(before) + 3
    assert checkpoints(run)[-1].name == f"img{round(rows[-1]['kimg'] * 1000):09d}.pt"


@pytest.mark.parametrize("family", FAMILIES)
def test_an_older_model_draws_what_it_drew(family):
    g = figment.load(str(DATA / family)).g_ema
    with np.load(DATA / family / "pictures.npz") as wanted:
        found = draw_pictures(g, seeds_to_w(g, [0, 1, 2, 3]))
        assert np.abs(found.astype(int) - wanted["pictures"].astype(int)).max() <= 1
