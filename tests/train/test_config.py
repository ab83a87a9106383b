import dataclasses
import json
from pathlib import Path

import pytest
import torch

from figment.base.errors import FigmentError
from figment.train.config import COLUMNS, PRESETS, heuristics, read_config, resolve


def test_every_preset_fills_every_column():
    assert all(len(row) == len(COLUMNS) for row in PRESETS.values())


def test_auto_follows_stylegan2_ada():
    assert heuristics(256, None, 1) == {
        "batch": 16,
        "channel_base": 16384,
        "lr": 0.0025,
        "gamma": 0.8192,
        "ema_kimg": 5,
        "augment": "ada",
    }
    assert heuristics(1024, None, 8)["lr"] == 0.002
    assert heuristics(512, 8, 1)["gamma"] == pytest.approx(6.5536)


def test_auto_takes_a_larger_batch_where_the_memory_holds_it_and_a_narrower_network_where_it_does_not():
    def picked(resolution, gb, **more):
        found = heuristics(resolution, None, 1, memory_gb=gb, **more)
        return found["batch"], found["channel_base"]

    assert picked(512, None) == picked(512, 24) == (8, 32768)
    assert picked(512, 48) == (16, 32768) and picked(512, 80) == (32, 32768)
    assert picked(512, 8) == (8, 16384) and picked(512, 8, base=32768) == (8, 32768)
    assert picked(512, 24, base=8192) == (32, 8192)
    assert picked(256, 80) == (32, 16384) and picked(128, 80) == (32, 16384)
    assert heuristics(512, None, 1, memory_gb=48)["gamma"] == pytest.approx(0.0002 * 512**2 / 16)


def test_auto_shares_the_batch_by_any_number_of_gpus():
    assert [heuristics(256, None, world)["batch"] for world in (1, 2, 3, 4, 5, 8, 100)] == [16, 32, 48, 64, 60, 64, 100]


def test_auto_augments_what_could_be_learnt_by_heart():
    assert resolve(Path("a.zip"), "d", 64, 3, preset="auto", pictures=49_999).recipe.augment == "ada"
    assert resolve(Path("a.zip"), "d", 64, 3, preset="auto", pictures=50_000).recipe.augment == "none"
    assert resolve(Path("a.zip"), "d", 64, 3, preset="auto", pictures=50_000, augment="ada").recipe.augment == "ada"


def test_what_the_user_set_wins_over_the_preset():
    config = resolve(Path("a.zip"), "d", 64, 3, preset="paper", batch=8, gamma=None)
    assert (config.recipe.batch, config.recipe.gamma, config.networks.map_depth) == (8, 10, 8)
    assert resolve(Path("a.zip"), "d", 64, 3).networks.z_dim == PRESETS["cpu"][0]
    assert resolve(Path("a.zip"), "d", 64, 3, device="cuda").networks.z_dim == 512


def test_on_a_cpu_trained_networks_go_on_at_a_lower_rate_than_fresh_ones():
    fresh = resolve(Path("a.zip"), "d", 64, 3)
    like = fresh.generator, fresh.discriminator
    assert (fresh.recipe.lr, resolve(Path("a.zip"), "d", 64, 3, like=like).recipe.lr) == (0.004, 0.0025)
    assert resolve(Path("a.zip"), "d", 64, 3, like=like, lr=0.01).recipe.lr == 0.01


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({"avx512_f": True}, "fp32")],
)
def test_a_cpu_that_multiplies_in_bf16_is_asked_to(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve(Path("a.zip"), "d", 64, 3).recipe.precision == precision
    assert resolve(Path("a.zip"), "d", 64, 3, precision="fp32").recipe.precision == "fp32"


def test_all_problems_are_told_at_once():
    with pytest.raises(FigmentError, match=r"--batch 0: .*; --lr 7: .*; --kimg -1: "):
        resolve(Path("a.zip"), "d", 64, 3, batch=0, lr=7, kimg=-1)
    with pytest.raises(FigmentError, match="--preset huge"):
        resolve(Path("a.zip"), "d", 64, 3, preset="huge")
    with pytest.raises(FigmentError, match="--batch 3: must be a positive multiple of the 2 ranks"):
        resolve(Path("a.zip"), "d", 64, 3, batch=3, world=2)


def test_a_configuration_survives_its_file(tmp_path, tiny):
    (tmp_path / "config.json").write_text(json.dumps(tiny.to_json()))
    assert read_config(tmp_path / "config.json") == dataclasses.replace(tiny)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FigmentError, match=r"config\.json"):
        read_config(tmp_path / "config.json")
