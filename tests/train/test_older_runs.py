"""Runs written by commit 898d8a0 (checkpoints without a format) resume as they would have there.

On the same kind of CPU they do so bit for bit.

Each folder of data_898d8a0 has the run, the weights that 898d8a0 itself reached after ten more steps
(resumed.safetensors), and its images of seeds 0 to 3 (pictures.npz).
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import figment
from figment.draw.latents import seeds_to_w
from figment.draw.render import draw_pictures
from figment.train.run import resume_training
from figment.train.state import checkpoints

DATA = Path(__file__).parent / "data_898d8a0"
FAMILIES = ("stylegan2", "stylegan1")


@pytest.mark.parametrize("family", FAMILIES)
def test_an_older_run_goes_on_exactly_as_it_would_have(tmp_path, family):
    run = tmp_path / family
    shutil.copytree(DATA / family, run, ignore=shutil.ignore_patterns("resumed.safetensors", "pictures.npz"))
    before = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert resume_training(run, data=DATA / "heads.zip", kimg=0.080, device="cpu") == run

    model, wanted = figment.load(str(run)), load_file(DATA / family / "resumed.safetensors")
    found = {f"g_ema.{name}": value for name, value in model.g_ema.state_dict().items()}
    found |= {f"d.{name}": value for name, value in model.d.state_dict().items()}
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        # Equal on the same kind of processor; another one rounds differently.
        scale = value.abs().max().item()
        np.testing.assert_allclose(found[name].numpy(), value.numpy(), rtol=1e-3, atol=1e-4 * scale, err_msg=name)
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
