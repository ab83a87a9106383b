"""A step's parts on a GPU, recorded and fused; without one, that nothing is recorded."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from figment.base.dist import World
from figment.nets import fused
from figment.pack.sampler import EndlessSampler
from figment.train.config import resolve
from figment.train.graphs import Graphs
from figment.train.state import new_state
from figment.train.step import train_step

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_nothing_is_recorded_but_on_a_gpu():
    graphs, layer = Graphs(), torch.nn.Linear(2, 1)
    inputs = {"x": torch.ones(1, 2), "none": None, "draws": (torch.ones(1), [torch.ones(1)])}
    assert not graphs.usable(inputs)
    done = [graphs.run("D", lambda _: pytest.fail("recorded"), inputs, layer, lambda: {"y": torch.ones([])})
            for _ in range(5)]
    assert [row["y"].item() for row in done] == [1.0] * 5


def rows_of(config, steps=10, graphs=True):
    """Statistics of some steps on the GPU, and the state."""
    world = World(0, 1, torch.device("cuda"))
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (32, 3, 32, 32), np.uint8)).cuda()
    state, sampler = new_state(config, world.device), EndlessSampler(32, 0, True)
    state.graphs.on = graphs
    return [{name: float(value) for name, value in train_step(config, state, images, sampler, world).items()}
            for _ in range(steps)], state


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recorded_steps_are_those_that_were_not(precision):
    config = resolve(Path("x"), "x", 32, 3, preset="auto", device="cuda", batch=8, channel_base=512, r1_interval=2,
                     augment="ada", ada_kimg=0.5, ada_target=-1.5, lr=0.0005, precision=precision)
    plain, _ = rows_of(config, graphs=False)
    recorded, state = rows_of(config)
    assert set(state.graphs._made) == {"D", "D with R1", "G", "G with path length"} and state.graphs.on
    for ours, theirs in zip(recorded, plain, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"sign_real", "sign_fake"}:
            assert ours[name] == pytest.approx(theirs[name], rel=0.02, abs=0.02), name


@needs_gpu
def test_fused_steps_agree_with_the_cpus():
    config = resolve(Path("x"), "x", 32, 3, preset="auto", batch=8, channel_base=512, r1_interval=2, augment="none",
                     lr=0.0005, precision="fp32", noise=False)
    assert fused._triton_works(torch.device("cuda"))
    world = World(0, 1, torch.device("cpu"))
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (32, 3, 32, 32), np.uint8))
    config = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, path_weight=0.0))
    on_gpu, _ = rows_of(config, steps=5)
    state, sampler = new_state(config, world.device), EndlessSampler(32, 0, True)
    for ours in on_gpu:
        row = train_step(config, state, images, sampler, world)
        for name in ("loss_d", "loss_g"):
            assert ours[name] == pytest.approx(float(row[name]), rel=0.02), name
