"""Training with the projected discriminator: defaults, exact resume, micro-batches, ranks."""

from pathlib import Path

import numpy as np
import pytest
import torch

import figment.train.config
from figment.base.device import World
from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.models import load
from figment.nets.projected import ProjectedDiscriminator
from figment.pack.dataset import ImageDataset
from figment.pack.zips import pack
from figment.train.config import resolve
from figment.train.execution import MicroBatches
from figment.train.losses import OBJECTIVES
from figment.train.phases import Compute, DPhase, Players, precision_of
from figment.train.run import resume_training, start_training
from figment.train.state import new_state
from figment.train.trainer import Trainer
from tests.train.conftest import run_ranks

CPU = torch.device("cpu")
SMALL = {"discriminator": "projected", "channel_base": 64, "z_dim": 8, "w_dim": 8, "batch": 8, "precision": "fp32"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("projected")
    rng = np.random.default_rng(0)
    for i in range(8):
        write_png(folder / "in" / f"{i}.png", rng.integers(0, 256, (32, 32, 3), np.uint8))
    pack(folder / "in", folder / "data.zip", resolution=32)
    return folder / "data.zip"


def test_its_defaults():
    config = resolve(Path("a.zip"), "d", 64, 3, discriminator="projected")
    recipe = config.recipe
    assert (recipe.loss, recipe.gamma, recipe.d_lr) == ("hinge", 1.0, 0.5)
    assert config.discriminator["kind"] == "projected" and config.discriminator["deep"] > 0
    chosen = resolve(Path("a.zip"), "d", 64, 3, discriminator="projected", loss="logistic", gamma=2)
    assert (chosen.recipe.loss, chosen.recipe.gamma) == ("logistic", 2)
    like = config.generator, config.discriminator
    assert resolve(Path("a.zip"), "d", 64, 3, like=like).discriminator == config.discriminator
    with pytest.raises(FigmentError, match="--backbone x: the discriminator of --init has a backbone of its own"):
        resolve(Path("a.zip"), "d", 64, 3, like=like, backbone="x")
    assert "kind" not in resolve(Path("a.zip"), "d", 64, 3, like=like, discriminator="family").discriminator


def test_the_preset_cpu_takes_it_from_random_weights_where_it_fits(monkeypatch):
    def picked(resolution=64, **given):
        networks = resolve(Path("a.zip"), "d", resolution, 3, **given).networks
        return networks.discriminator, networks.channel_base

    for precision, width in (("fp32", 1024), ("bf16", 2048)):
        monkeypatch.setattr(figment.train.config, "_precision", lambda device, precision=precision: precision)
        assert picked() == picked(96, channel_base=width) == ("projected", width)
    assert picked(channel_base=256) == ("projected", 256)
    assert picked(16)[0] == picked(family="progan")[0] == picked(preset="auto")[0] == "family"
    assert picked(discriminator="family") == ("family", 512)
    assert picked(precision="fp32") == ("projected", 1024) and picked(precision="bf16") == ("projected", 2048)
    assert picked(freeze_d=2) == picked(loss="logistic") == ("family", 512)
    assert picked(family="lucidrains")[0] == "family"
    like = resolve(Path("a.zip"), "d", 64, 3, discriminator="family")
    assert picked(like=(like.generator, like.discriminator))[0] == "family"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"resolution": 16}, "--discriminator projected: must be family unless"),
        ({"resolution": 64, "family": "stylegan1"}, "--discriminator projected: must be family unless"),
        ({"resolution": 64, "discriminator": "family", "backbone": "x"}, "--backbone x: must be unset without"),
        ({"resolution": 64, "freeze_d": 2}, "--freeze-d 2: must be 0 or more, and 0 for the projected"),
    ],
)
def test_what_does_not_fit_is_one_line(given, message):
    given = dict(given)
    with pytest.raises(FigmentError, match=message):
        resolve(Path("a.zip"), "d", given.pop("resolution"), 3, **{"discriminator": "projected"} | given)


@pytest.mark.parametrize("augment", ["none", "ada"])
def test_a_resumed_run_continues_bit_for_bit(tmp_path, data, augment):
    given = SMALL | {"augment": augment, "path_weight": 2.0, "tick_kimg": 1.0, "score_ticks": 0, "device": "cpu"}
    whole = start_training(data, tmp_path / "whole", kimg=0.048, **given)
    cut = start_training(data, tmp_path / "cut", kimg=0.02, **given)
    resume_training(cut, kimg=0.048, device="cpu")
    assert (whole / "model.safetensors").read_bytes() == (cut / "model.safetensors").read_bytes()
    model = load(cut)
    assert isinstance(model.d, ProjectedDiscriminator)
    fresh = new_state(resolve(data, "d", 32, 3, **SMALL), CPU)
    assert torch.equal(model.d.backbone.stem[0][0].weight, fresh.d.backbone.stem[0][0].weight)
    assert not torch.equal(model.d.image_head.out.weight, fresh.d.image_head.out.weight)


def steps(data, count=4, **more):
    dataset = ImageDataset(data)
    config = resolve(data, dataset.digest, 32, 3, **SMALL | {"lr": 0.0001} | more)
    trainer = Trainer(config, new_state(config, CPU), torch.from_numpy(dataset.held), World(0, 1, CPU))
    rows = [{name: float(value) for name, value in trainer.step().items()} for _ in range(count)]
    return trainer.state, rows


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_image_head_has_the_logistic_loss_and_r1_and_patches_have_the_hinge_loss(data, precision):
    config = resolve(data, "d", 32, 3, **SMALL | {"precision": precision})
    state = new_state(config, CPU)
    players = Players(state.g, state.d, Compute(CPU, precision_of(config.recipe)), mixing=False)
    inputs = {
        "reals": torch.rand(8, 3, 32, 32) * 2 - 1,
        "z": torch.randn(2, 8, 8),
        "cutoff": torch.zeros(8, dtype=torch.int64),
        "noise": None,
        "blur": None,
        "augment_real": None,
        "augment_fake": None,
    }
    state.d.requires_grad_(True)
    rows = DPhase(players, OBJECTIVES["hinge"], r1_weight=1.0)(inputs, slice(None), 1.0)
    stats = {name: float(value.detach()) for name, value in rows.items()}

    real = inputs["reals"].requires_grad_()
    (gradient,) = torch.autograd.grad(state.d.image_head(real).sum(), real)
    assert stats["r1"] == pytest.approx(float(gradient.square().sum([1, 2, 3]).mean()), rel=1e-3)
    with torch.no_grad():
        fake = state.g.synthesis(state.g.mapping(inputs["z"][0]), noise="none")
        patches, whole = zip(state.d.logits(real), state.d.logits(fake), strict=True)
    hinge, logistic = (OBJECTIVES[name].discriminator for name in ("hinge", "logistic"))
    wanted = float(hinge(*patches) + logistic(*whole)) / 2
    assert stats["loss_d"] == pytest.approx(wanted, rel=1e-4 if precision == "fp32" else 0.03)


def test_micro_batches_give_the_same_run(data, monkeypatch):
    whole, rows = steps(data)
    original = MicroBatches.run

    def in_halves(self, *arguments):
        self.size = 4
        return original(self, *arguments)

    monkeypatch.setattr(MicroBatches, "run", in_halves)
    parts, others = steps(data)
    for row, other in zip(rows, others, strict=True):
        assert other["loss_d"] == pytest.approx(row["loss_d"], rel=1e-4)
        assert other["loss_g"] == pytest.approx(row["loss_g"], rel=1e-4, abs=1e-4)
    for mine, theirs in zip(whole.g.parameters(), parts.g.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


RANKS = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from figment.base.device import join_world
from figment.pack.dataset import ImageDataset
from figment.train.config import resolve
from figment.train.state import new_state
from figment.train.trainer import Trainer
from tests.train.test_projected import SMALL
world = join_world("cpu")
data = Path(sys.argv[1])
dataset = ImageDataset(data)
config = resolve(data, dataset.digest, 32, 3, world=world.size, **SMALL | {"lr": 0.0001})
trainer = Trainer(config, new_state(config, world.device), torch.from_numpy(dataset.held), world)
for _ in range(int(sys.argv[3])):
    trainer.step()
if world.is_main:
    torch.save({"g": trainer.state.g.state_dict(), "d": trainer.state.d.state_dict()}, sys.argv[2])
world.close()
"""


@pytest.mark.slow
def test_two_ranks_give_the_networks_of_one(tmp_path, data):
    """Compared by what they draw and score: gradients of the last biases cancel, so Adam moves those by rounding."""
    run_ranks(tmp_path, RANKS, data, tmp_path / "two.pt", 8)
    one, _ = steps(data, 8)
    two, _ = steps(data, 0)
    states = torch.load(tmp_path / "two.pt", weights_only=True)
    two.g.load_state_dict(states["g"])
    two.d.load_state_dict(states["d"])
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    images = one.g(z)
    torch.testing.assert_close(two.g(z), images, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        torch.cat(two.d.logits(images), 1), torch.cat(one.d.logits(images), 1), rtol=1e-3, atol=1e-3
    )
