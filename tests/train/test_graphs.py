"""A step's parts on a GPU, recorded and fused; without one, that nothing is recorded."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from figment.base.device import World
from figment.nets.ops.triton_launch import kernels_run
from figment.pack.sampler import EndlessSampler
from figment.train.config import resolve
from figment.train.graphs import WARM_UP, Graphs, Recorded
from figment.train.state import new_state
from figment.train.step import train_step


def test_nothing_is_recorded_but_on_a_gpu():
    graphs, layer = Graphs(), torch.nn.Linear(2, 1)
    inputs = {"x": torch.ones(1, 2), "none": None, "draws": (torch.ones(1), [torch.ones(1)])}
    assert not graphs.usable(inputs)
    done = [
        graphs.run("D", lambda _: pytest.fail("recorded"), inputs, layer, lambda: {"y": torch.ones([])})
        for _ in range(5)
    ]
    assert [row["y"].item() for row in done] == [1.0] * 5


class Repeats:
    """Stands for a graph: does the work again, from and to the places of its record; `off` by so much."""

    def __init__(self, work, layer, off):
        self.work, self.layer, self.off = work, layer, off

    def record(self, work, inputs, parameters):
        static = {"x": inputs["x"].clone()}
        self.layer.zero_grad(set_to_none=True)
        stats = {name: value.clone() for name, value in work(static).items()}
        grads = [parameter.grad.clone() for parameter in parameters]
        self.layer.zero_grad(set_to_none=True)
        self.work, self.made = work, Recorded(self, static, stats, grads)
        return self.made

    def replay(self):
        self.layer.zero_grad(set_to_none=True)
        for name, value in self.work(self.made.inputs).items():
            self.made.stats[name].copy_(value + self.off)
        for grad, parameter in zip(self.made.grads, self.layer.parameters(), strict=True):
            grad.copy_(parameter.grad)


@pytest.mark.parametrize(("off", "kept"), [(0.0, True), (5.0, False)])
def test_a_recorded_part_gives_what_the_plain_one_gives_or_is_not_used(monkeypatch, capsys, off, kept):
    torch.manual_seed(0)
    layer, graphs, plain = torch.nn.Linear(2, 1), Graphs(), []

    def work(inputs):
        loss = layer(inputs["x"]).square().mean()
        loss.backward()
        return {"loss": loss.detach()}

    def plainly(inputs):
        plain.append(1)
        layer.zero_grad(set_to_none=True)
        return work(inputs)

    fake = Repeats(work, layer, off)
    monkeypatch.setattr(graphs, "usable", lambda inputs: graphs.on)
    monkeypatch.setattr(graphs, "_record", fake.record)
    for _ in range(6):
        inputs = {"x": torch.randn(4, 2)}
        stats = graphs.run("D", work, inputs, layer, lambda inputs=inputs: plainly(inputs))
        grads = [parameter.grad.clone() for parameter in layer.parameters()]
        layer.zero_grad(set_to_none=True)
        wanted = work(inputs)
        assert stats["loss"] == wanted["loss"]
        assert all(torch.equal(grad, parameter.grad) for grad, parameter in zip(grads, layer.parameters(), strict=True))
    assert len(plain) == (WARM_UP + 1 if kept else 6) and graphs.on == kept
    assert ("a recorded step gives" in capsys.readouterr().out) != kept


def rows_of(config, steps=10, graphs=True):
    """Statistics of some steps on the GPU, and the state."""
    world = World(0, 1, torch.device("cuda"))
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (32, 3, 32, 32), np.uint8)).cuda()
    state, sampler = new_state(config, world.device), EndlessSampler(32, 0, True)
    state.graphs.on = graphs
    return [
        {name: float(value) for name, value in train_step(config, state, images, sampler, world).items()}
        for _ in range(steps)
    ], state


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recorded_steps_are_those_that_were_not(precision):
    config = resolve(
        Path("x"),
        "x",
        32,
        3,
        preset="auto",
        device="cuda",
        batch=8,
        channel_base=512,
        r1_interval=2,
        augment="ada",
        ada_kimg=0.5,
        ada_target=-1.5,
        lr=0.0005,
        precision=precision,
    )
    plain, _ = rows_of(config, graphs=False)
    recorded, state = rows_of(config)
    assert set(state.graphs._made) == {"D", "D with R1", "G", "G with path length"} and state.graphs.on
    for ours, theirs in zip(recorded, plain, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"sign_real", "sign_fake"}:
            assert ours[name] == pytest.approx(theirs[name], rel=0.02, abs=0.02), name


@pytest.mark.gpu
def test_fused_steps_agree_with_the_cpus():
    config = resolve(
        Path("x"),
        "x",
        32,
        3,
        preset="auto",
        batch=8,
        channel_base=512,
        r1_interval=2,
        augment="none",
        lr=0.0005,
        precision="fp32",
        noise=False,
    )
    assert kernels_run(torch.zeros(1, device="cuda"))
    world = World(0, 1, torch.device("cpu"))
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (32, 3, 32, 32), np.uint8))
    config = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, path_weight=0.0))
    on_gpu, _ = rows_of(config, steps=5)
    state, sampler = new_state(config, world.device), EndlessSampler(32, 0, True)
    for ours in on_gpu:
        row = train_step(config, state, images, sampler, world)
        for name in ("loss_d", "loss_g"):
            assert ours[name] == pytest.approx(float(row[name]), rel=0.02), name
