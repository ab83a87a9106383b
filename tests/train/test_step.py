"""Steps of every kind: families, losses, augmentation, path length, micro-batches, ranks."""

import dataclasses
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import figment.train.memory
from figment.base.device import has_fast_bf16
from figment.base.errors import FigmentError
from figment.nets.registry import build_discriminator
from figment.nets.stylegan1 import growth
from figment.pack.sampler import EndlessSampler
from figment.train import loop
from figment.train.config import resolve
from figment.train.loop import diagnose, train
from figment.train.losses import judge_both
from figment.train.state import new_state
from figment.train.step import lazy_parts, moment, step_kinds, train_step
from tests.train.conftest import TINY, run_ranks
from tests.train.test_loop import contents

CPU = torch.device("cpu")


def recipe(config, **more):
    return dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, **more))


def run_steps(config, dataset, world, count, state=None):
    """`count` steps; the state, and every step's statistics as numbers."""
    state = state or new_state(config, CPU)
    images, sampler = torch.from_numpy(dataset.held), EndlessSampler(len(dataset), config.schedule.seed, True)
    rows = [train_step(config, state, images, sampler, world) for _ in range(count)]
    return state, [{name: float(value) for name, value in row.items()} for row in rows]


def equal(a, b):
    mine, theirs = a.g.state_dict() | a.d.state_dict(), b.g.state_dict() | b.d.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_everything_at_once_is_finite_and_moves(dataset, world, tiny):
    config = recipe(tiny, augment="ada", path_weight=2.0, freeze_d=1, ada_kimg=0.05, ada_target=-1.5)
    state, rows = run_steps(config, dataset, world, 5)
    assert {"loss_d", "loss_g", "r1", "path_length", "ada_p", "sign_real", "sign_fake"} == set(rows[0])
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert rows[3]["ada_p"] == pytest.approx(4 * 4 / 50) and state.path_mean > 0
    fresh = new_state(config, CPU)
    assert torch.equal(state.d.from_rgb.weight, fresh.d.from_rgb.weight)
    assert not torch.equal(state.d.out.weight, fresh.d.out.weight)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_forty_steps_equal_twentythree_and_the_rest_bit_for_bit(tmp_path, dataset, world, monkeypatch, precision):
    """With augmentation, path length, noise and mixing: every weight, statistic and grid."""
    if precision == "bf16" and not has_fast_bf16("cpu"):
        pytest.skip("bfloat16 is slow on this processor: minutes")
    settings = TINY | {
        "augment": "ada",
        "path_weight": 2.0,
        "ada_kimg": 0.05,
        "tick_kimg": 0.032,
        "kimg": 0.16,
        "precision": precision,
    }
    config = resolve(dataset.path, dataset.digest, 16, 3, **settings)
    train(config, tmp_path / "whole", dataset, world)

    # A signal comes in the 23rd step, between two ticks.
    original, count = loop.train_step, [0]

    def counted(*arguments):
        count[0] += 1
        if count[0] == 23:
            signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(loop, "train_step", counted)
    assert not train(config, tmp_path / "cut", dataset, world)
    assert count[0] == 23
    assert train(config, tmp_path / "cut", dataset, world)
    assert contents(tmp_path / "whole") == contents(tmp_path / "cut")


def test_micro_batches_after_a_lack_of_memory_give_the_same_run(dataset, world, monkeypatch, capsys):
    config = recipe(resolve(dataset.path, dataset.digest, 16, 3, **TINY | {"batch": 8, "lr": 0.0005}), gamma=0.5)
    whole, rows = run_steps(config, dataset, world, 12)

    # An allocator that holds at most 4 pictures at once.
    original = figment.train.memory.MicroBatches._attempt

    def limited(self, closure):
        def small(index, share):
            if not isinstance(index, torch.Tensor) or len(index) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return closure(index, share)

        return original(self, small)

    monkeypatch.setattr(figment.train.memory.MicroBatches, "_attempt", limited)
    parts, others = run_steps(config, dataset, world, 12)
    out = capsys.readouterr().out
    assert "D with R1: out of memory with 8 pictures at once: going on with 4" in out
    assert out.count("out of memory") == 3
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
    assert moment(config, round(config.schedule.start_kimg * 1000)).lod == first
    state, rows = run_steps(config, dataset, world, 4)
    assert 0 < first - state.g.lod < 0.1 and state.d.lod == state.g_ema.lod == state.g.lod
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert ("gradient_penalty" if family == "progan" else "r1") in rows[0]


def test_each_kind_of_step_counts_by_its_share(tiny):
    kinds = step_kinds(recipe(tiny, r1_interval=16, path_weight=2.0).recipe)
    assert {kind: share for kind, (_, share) in kinds.items()} == {
        (True, True): 1 / 16,
        (False, True): 3 / 16,
        (False, False): 12 / 16,
    }
    assert all(
        lazy_parts(recipe(tiny, r1_interval=16, path_weight=2.0).recipe, step) == kind
        for kind, (step, _) in kinds.items()
    )
    every = step_kinds(recipe(tiny, r1_interval=1, path_weight=0.0).recipe)
    assert {kind: share for kind, (_, share) in every.items()} == {(True, False): 1.0}


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


def test_the_schedule_is_the_published_one():
    with np.load(Path(__file__).parents[1] / "data" / "sched_512.npz") as reference:
        assert list(reference["columns"])[:3] == ["num_gpus", "kimg", "lod"]
        for gpus, kimg, *wanted in reference["table"]:
            now = figment.train.step.growth_at(float(kimg), 512, growth(int(gpus)))
            found = (now.lod, now.resolution, now.minibatch, now.lr, now.lr, now.tick_kimg)
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_the_storys_settings():
    config = resolve("a.zip", "d", 512, 3, preset="story", init="faces.pkl")
    now = moment(config, 7_000_000)
    assert (now.resolution, now.minibatch, now.lr, now.tick_kimg) == (512, 4, 0.0015, 30)
    assert config.recipe.mirror and config.recipe.gamma == 10 and config.networks.family == "stylegan1"


def test_broken_states_are_noticed_and_rolled_back(tmp_path, tiny, dataset, world, capsys, monkeypatch):
    original, calls = loop.train_step, [0]

    def poisoned(config, state, *rest):
        calls[0] += 1
        stats = original(config, state, *rest)
        if calls[0] == 6:
            next(state.g.parameters()).data.fill_(float("nan"))
        return stats

    monkeypatch.setattr(loop, "train_step", poisoned)
    assert train(tiny, tmp_path, dataset, world)
    out = capsys.readouterr().out
    assert "are no numbers any more: back to 0.0 kimg, with 0.5 times the learning rate" in out
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [row["kimg"] for row in rows] == [0.016, 0.032, 0.048]
    assert all(np.isfinite(list(row.values())).all() for row in rows)


def test_a_discriminator_that_nothing_fools_is_noticed(tiny):
    state = new_state(tiny, CPU)
    row = {"sign_real": 1.0, "sign_fake": -1.0, "loss_g": 30.0}
    assert "can't be fooled" in (diagnose(row, state) or "")
    assert diagnose(row | {"loss_g": 5.0}, state) is None


def test_a_run_that_stays_broken_gives_up(tmp_path, tiny, dataset, world, monkeypatch):
    monkeypatch.setattr(loop, "diagnose", lambda row, state: "loss_d are no numbers any more")
    with pytest.raises(FigmentError, match="after 5 rollbacks; try a smaller --lr"):
        train(tiny, tmp_path, dataset, world)


def test_bfloat16_trains_alike(dataset, world, tiny):
    _, rows = run_steps(recipe(tiny, precision="bf16", noise=False), dataset, world, 3)
    _, others = run_steps(recipe(tiny, noise=False), dataset, world, 3)
    assert rows[0]["r1"] == pytest.approx(others[0]["r1"], rel=1e-4)
    assert rows[0]["loss_d"] == pytest.approx(others[0]["loss_d"], rel=0.05)
    assert all(np.isfinite(list(row.values())).all() for row in rows)


SCRIPT = """
import sys, torch
from pathlib import Path
from figment.base.device import join_world
from figment.pack.dataset import ImageDataset
from figment.train.config import read_config
from tests.train.test_step import run_steps
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


@pytest.mark.parametrize(
    ("batch", "group", "channels"), [(8, 4, 1), (4, 4, 1), (2, 4, 1), (6, 4, 1), (6, 0, 1), (4, 4, 0)]
)
def test_judging_both_batches_at_once_gives_the_scores_of_each_alone(batch, group, channels):
    torch.manual_seed(0)
    d = build_discriminator(
        {"family": "stylegan2", "resolution": 8, "channel_base": 64, "mbstd_group": group, "mbstd_channels": channels}
    )
    real, fake = torch.randn(2, batch, 3, 8, 8)
    for mine, alone in zip(judge_both(d, real, fake), (d(real), d(fake)), strict=True):
        torch.testing.assert_close(mine, alone, rtol=1e-5, atol=1e-6)
