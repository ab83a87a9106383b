"""Steps of every kind: families, losses, augmentation, path length, micro-batches, ranks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from figment.base.device import World
from figment.nets.ops.triton_launch import kernels_run
from figment.train.config import resolve
from figment.train.state import load_newest, new_state, save_checkpoint
from figment.train.trainer import Trainer, ema_beta, train_layers, update_ema
from tests.train.conftest import TINY, changed, make_trainer, run_ranks, run_steps

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_everything_at_once_is_finite_and_moves(dataset, world, tiny):
    config = changed(tiny, augment="ada", path_weight=2.0, freeze_d=1, ada_kimg=0.05, ada_target=-1.5)
    state, rows = run_steps(config, dataset, world, 5)
    assert {"loss_d", "loss_g", "r1", "path_length", "ada_p", "sign_real", "sign_fake"} == set(rows[0])
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert rows[3]["ada_p"] == pytest.approx(4 * 4 / 50) and state.path_mean > 0
    fresh = new_state(config, CPU)
    assert torch.equal(state.d.from_rgb.weight, fresh.d.from_rgb.weight)
    assert not torch.equal(state.d.out.weight, fresh.d.out.weight)


def test_micro_batches_after_a_lack_of_memory_give_the_same_run(dataset, world, monkeypatch):
    config = changed(resolve(dataset.path, dataset.digest, 16, 3, **TINY | {"batch": 8, "lr": 0.0005}), gamma=0.5)
    whole, rows = run_steps(config, dataset, world, 12)

    # Memory that holds at most 4 images at once.
    state, lines = new_state(config, CPU), []
    synthesis = state.g.synthesis

    def limited(w, **options):
        if len(w) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return synthesis(w, **options)

    monkeypatch.setattr(state.g, "synthesis", limited)
    parts, others = run_steps(config, dataset, world, 12, state, log=lines.append)
    assert any(line.startswith("D with R1: out of memory with 8 images at once: continuing with 4") for line in lines)
    assert len(lines) == 3 and all("out of memory" in line for line in lines)
    assert parts.micro == {"D with R1": 4, "D": 4, "G": 4}
    for row, other in zip(rows, others, strict=True):
        for name in ("loss_d", "loss_g", "r1"):
            if name in row:
                assert other[name] == pytest.approx(row[name], rel=1e-4)
    for mine, theirs in zip(whole.g.parameters(), parts.g.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", ["stylegan1", "progan"])
def test_grown_families_grow(dataset, world, family, precision):
    config = resolve(
        dataset.path,
        dataset.digest,
        16,
        3,
        family=family,
        channel_base=64,
        z_dim=8,
        w_dim=8,
        map_depth=2,
        batch=4,
        start_kimg=599.996 if family == "stylegan1" else 599.99,
        precision=precision,
    )
    first = {"stylegan1": 1.0, "progan": 2.0}[family]
    assert make_trainer(config, dataset, world).now.lod == first
    state, rows = run_steps(config, dataset, world, 4)
    assert 0 < first - state.g.lod < 0.1 and state.d.lod == state.g_ema.lod == state.g.lod
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert ("gradient_penalty" if family == "progan" else "r1") in rows[0]


def test_new_layers_reset_both_optimizers(dataset, world):
    config = resolve(
        dataset.path,
        dataset.digest,
        16,
        3,
        family="stylegan1",
        channel_base=64,
        z_dim=8,
        w_dim=8,
        map_depth=2,
        batch=4,
        start_kimg=599.996,
    )
    state, _ = run_steps(config, dataset, world, 1)
    assert all(value["step"] == 1 for value in state.g_opt.state.values())
    state, _ = run_steps(config, dataset, world, 2, state)
    assert {int(value["step"]) for value in state.g_opt.state.values()} == {1}
    state, _ = run_steps(config, dataset, world, 1, state)
    assert {int(value["step"]) for value in state.g_opt.state.values()} == {2}


def test_bfloat16_trains_alike(dataset, world, tiny):
    _, rows = run_steps(changed(tiny, precision="bf16", noise=False), dataset, world, 3)
    _, others = run_steps(changed(tiny, noise=False), dataset, world, 3)
    assert rows[0]["r1"] == pytest.approx(others[0]["r1"], rel=1e-4)
    assert rows[0]["loss_d"] == pytest.approx(others[0]["loss_d"], rel=0.05)
    assert all(np.isfinite(list(row.values())).all() for row in rows)


SCRIPT = """
import sys, torch
from pathlib import Path
from figment.base.device import join_world
from figment.pack.dataset import ImageDataset
from figment.train.config import read_config
from tests.train.conftest import run_steps
torch.set_num_threads(1)
world = join_world("cpu")
config = read_config(Path(sys.argv[1]))
state, _ = run_steps(config, ImageDataset(Path(config.data)), world, 20)
if world.is_main:
    torch.save({"g": state.g.state_dict(), "d": state.d.state_dict()}, sys.argv[2])
world.close()
threads = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
assert "pt_gloo_runloop" not in threads    # one that is left may abort the process as it ends
"""


@pytest.mark.slow
def test_two_ranks_give_the_weights_of_one(tmp_path, dataset, world):
    """At a low rate: at a high one rounding alone can lead away from a run, whoever rounds."""
    settings = TINY | {"batch": 8, "lr": 0.0005, "augment": "ada", "ada_kimg": 0.5}
    config = resolve(dataset.path, dataset.digest, 16, 3, **settings)
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    run_ranks(tmp_path, SCRIPT, tmp_path / "config.json", tmp_path / "two.pt")
    one, _ = run_steps(config, dataset, world, 20)
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    for name in ("g", "d"):
        for key, value in getattr(one, name).state_dict().items():
            scale = value.abs().max().clamp(min=1e-3)
            assert ((value - two[name][key]).abs().max() / scale).item() < 1e-5, (name, key)


def test_a_step_moves_both_networks_and_the_averages(tiny, dataset, world):
    trainer = make_trainer(tiny, dataset, world)
    state = trainer.state
    before = {name: [p.clone() for p in getattr(state, name).parameters()] for name in ("g", "d", "g_ema")}
    stats = trainer.step()
    for name, old in before.items():
        moved = [not torch.equal(a, b) for a, b in zip(old, getattr(state, name).parameters(), strict=True)]
        assert np.mean(moved) > 0.9, name
    assert state.g.w_avg.abs().sum() > 0
    assert torch.equal(state.g.w_avg, state.g_ema.w_avg)
    assert set(stats) == {"loss_d", "loss_g", "sign_real", "sign_fake", "r1"}


def test_without_noise_the_generator_never_learns_to_lean_on_it(tiny, dataset, world):
    for noise in (True, False):
        state, _ = run_steps(changed(tiny, noise=noise), dataset, world, 2)
        strengths = list(state.g.noise_strengths().values())
        assert strengths and all(bool(value) == noise for value in strengths)


def test_frozen_layers_are_the_first_ones_from_the_image_on(tiny):
    d = new_state(tiny, CPU).d
    train_layers(d, 2)
    frozen = {id(parameter) for layer in d.freeze_order()[:2] for parameter in layer.parameters()}
    assert frozen and all(parameter.requires_grad == (id(parameter) not in frozen) for parameter in d.parameters())
    train_layers(d, 0)
    assert all(parameter.requires_grad for parameter in d.parameters())


def test_two_trainers_in_one_process_augment_by_their_own_strengths(tiny, dataset, world):
    config = changed(tiny, augment="ada", ada_kimg=0.05, ada_target=-1.5)
    alone = [row["ada_p"] for row in run_steps(config, dataset, world, 8)[1]]
    first, second = make_trainer(config, dataset, world), make_trainer(config, dataset, world)
    rows = []
    for _ in range(8):
        rows.append(float(first.step()["ada_p"]))
        second.state.ada = second.state.ada._replace(p=torch.tensor(1.0))
        second.step()
    assert rows == alone and first.players.augment.p != second.players.augment.p


# --- The moving average


def test_the_half_life_halves():
    assert ema_beta(10**9, 16, 10, 0.05) ** (10_000 / 16) == pytest.approx(0.5)
    assert ema_beta(1000, 16, 10, 0.05) == pytest.approx(0.5 ** (16 / 50))
    assert ema_beta(1000, 16, 10, None) == pytest.approx(0.5 ** (16 / 10_000))


def test_parameters_move_and_buffers_are_copied():
    average, source = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        source.weight.fill_(3.0)
        source.running_mean.fill_(7.0)
    update_ema(average, source, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.running_mean.tolist() == [7.0, 7.0]


# --- On a GPU


def rows_of(config, steps=10, graphs=True):
    """Statistics of some steps on the GPU, and the trainer."""
    world = World(0, 1, torch.device("cuda"))
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (32, 3, 32, 32), np.uint8)).cuda()
    trainer = Trainer(config, new_state(config, world.device), images, world)
    trainer.executor.graphs.enabled = graphs
    return [{name: float(value) for name, value in trainer.step().items()} for _ in range(steps)], trainer


@pytest.mark.gpu
@needs_gpu
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
    recorded, trainer = rows_of(config)
    graphs = trainer.executor.graphs
    assert set(graphs.captured) == {"D", "D with R1", "G", "G with path length"} and graphs.enabled
    for ours, theirs in zip(recorded, plain, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"sign_real", "sign_fake"}:
            assert ours[name] == pytest.approx(theirs[name], rel=0.02, abs=0.02), name


@pytest.mark.gpu
@needs_gpu
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
    config = changed(config, path_weight=0.0)
    on_gpu, _ = rows_of(config, steps=5)
    trainer = Trainer(config, new_state(config, world.device), images, world)
    for ours in on_gpu:
        row = trainer.step()
        for name in ("loss_d", "loss_g"):
            assert ours[name] == pytest.approx(float(row[name]), rel=0.02), name


def test_an_alias_free_network_learns_its_magnitudes_and_d_sees_less_and_less_blurred_pictures(dataset, world):
    settings = TINY | {"family": "stylegan3-r", "map_depth": 1, "batch": 8, "noise": False}
    config = resolve(dataset.path, dataset.digest, 16, 3, **settings)
    assert config.recipe.blur_sigma == 10
    whole, _ = run_steps(config, dataset, world, 4)
    magnitudes = torch.stack([layer.magnitude for layer in (*whole.g.layers, whole.g.rgb)])
    assert ((magnitudes != 1) & (magnitudes > 0.99)).all()

    # The same in halves.
    parts = new_state(config, CPU)
    parts.micro = {"D with R1 of blurred images": 4, "D of blurred images": 4, "G of blurred images": 4}
    run_steps(config, dataset, world, 4, parts)
    for (name, mine), theirs in zip(whole.g.state_dict().items(), parts.g.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4, msg=name)

    # The blur ends after 50 kimg at this batch.
    trainer = make_trainer(config, dataset, world, whole)
    for nimg, sigma in ((25_000, 5.0), (50_000, 0.0)):
        whole.nimg = nimg
        assert trainer.now.blur == pytest.approx(sigma)
        assert np.isfinite([float(value) for value in trainer.step().values()]).all()


def test_an_alias_free_network_resumes_bit_for_bit(tmp_path, dataset, world):
    settings = TINY | {"family": "stylegan3-r", "map_depth": 1, "batch": 8, "noise": False}
    config = resolve(dataset.path, dataset.digest, 16, 3, **settings)
    whole, _ = run_steps(config, dataset, world, 6)
    half, _ = run_steps(config, dataset, world, 3)
    (tmp_path / "checkpoints").mkdir()
    save_checkpoint(tmp_path, half, keep=2)
    resumed = new_state(config, CPU)
    assert load_newest(tmp_path, resumed, CPU) == []
    run_steps(config, dataset, world, 3, resumed)
    for name in ("g", "d", "g_ema"):
        for key, value in getattr(whole, name).state_dict().items():
            assert torch.equal(value, getattr(resumed, name).state_dict()[key]), (name, key)
