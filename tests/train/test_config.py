import dataclasses
import json
from pathlib import Path

import pytest
import torch

from figment.base.errors import FigmentError
from figment.base.settings import rules
from figment.train.augment.pipeline import KINDS
from figment.train.config import Recipe, heuristics, read_config, resolve, settings
from figment.train.presets import COLUMNS, PRESETS


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


def test_stylegan3_follows_its_repository(tmp_path):
    def recipe(family, resolution, **given):
        return resolve(tmp_path, "d", resolution, 3, device="cuda", family=family, batch=32, **given)

    # docs/configs.md: gamma 0.5, 2, 8 and 32 for 128, 256, 512 and 1024 pixels, or close to it
    for resolution, gamma in ((128, 0.5), (256, 2), (512, 8.2), (1024, 32.8)):
        assert recipe("stylegan3-t", resolution).recipe.gamma == pytest.approx(gamma, rel=0.05)
    t, r = (recipe(family, 512) for family in ("stylegan3-t", "stylegan3-r"))
    assert (t.recipe.lr, t.recipe.d_lr, t.recipe.mixing, t.recipe.path_weight) == (0.0025, 0.8, 0, 0)
    assert (t.recipe.blur_sigma, r.recipe.blur_sigma) == (0, 10)
    assert t.networks.map_depth == 2
    assert (t.generator["family"], t.discriminator["family"]) == ("stylegan3-t", "stylegan3-t")
    assert recipe("stylegan3-r", 512, like=(r.generator, None)).recipe.blur_sigma == 0


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


def test_w_is_as_long_as_z_if_only_z_is_set():
    networks = resolve(Path("a.zip"), "d", 64, 3, z_dim=32).networks
    assert (networks.z_dim, networks.w_dim) == (32, 32)
    networks = resolve(Path("a.zip"), "d", 64, 3, z_dim=32, w_dim=16).networks
    assert (networks.z_dim, networks.w_dim) == (32, 16)
    assert resolve(Path("a.zip"), "d", 64, 3, w_dim=16).networks.z_dim == PRESETS["cpu"][0]


def test_the_family_decides_what_depends_on_it():
    for device, preset in (("cpu", "cpu"), ("cuda", "auto"), ("mps", "auto")):
        assert resolve(Path("a.zip"), "d", 64, 3, device=device) == resolve(
            Path("a.zip"), "d", 64, 3, device=device, preset=preset
        )
    config = resolve(Path("a.zip"), "d", 64, 3, family="progan")
    assert (config.recipe.loss, config.schedule.growing, config.recipe.batch) == ("wgan-gp", True, 0)
    with pytest.raises(FigmentError, match="--batch 0: .*; --lr 0: .*; --tick-kimg 0: "):
        resolve(Path("a.zip"), "d", 64, 3, family="stylegan2", batch=0, lr=0, tick_kimg=0)


def test_an_unknown_family_is_one_error():
    with pytest.raises(FigmentError, match=r"^--family biggan: must be one of stylegan2, .*[^;]$"):
        resolve(Path("a.zip"), "d", 64, 3, family="biggan", batch=0)
    with pytest.raises(FigmentError, match=r"--preset huge: .*; --family biggan: "):
        resolve(Path("a.zip"), "d", 64, 3, preset="huge", family="biggan")


def test_a_setting_that_does_not_exist_is_a_type_error():
    with pytest.raises(TypeError, match="unknown settings: btach"):
        resolve(Path("a.zip"), "d", 64, 3, btach=3)


def test_rules_come_from_the_fields_and_the_table_of_augmentations():
    assert rules(Recipe)["precision"].choices == ("fp32", "bf16")
    with pytest.raises(FigmentError, match=f"--augment-kinds bq: must be letters of {''.join(KINDS)}"):
        resolve(Path("a.zip"), "d", 64, 3, augment_kinds="bq")
    assert list(settings())[:2] == ["family", "resolution"] and "init" in settings()


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


def test_a_configuration_of_another_version_is_read_or_refused_in_one_line(tmp_path, tiny):
    path, value = tmp_path / "config.json", tiny.to_json()
    del value["schedule"]["tensorboard"], value["schedule"]["score_ticks"]  # settings that an older version lacks
    path.write_text(json.dumps(value))
    assert read_config(path) == tiny
    value["recipe"]["brightness"] = 2
    del value["networks"]["z_dim"]
    path.write_text(json.dumps(value))
    with pytest.raises(FigmentError, match=r"config\.json: .*\(no networks\.z_dim, unknown recipe\.brightness\)$"):
        read_config(path)
    for damaged in ("[]", '{"networks": 3}'):
        path.write_text(damaged)
        with pytest.raises(FigmentError, match=r"config\.json: .*no networks, no recipe, no schedule, no"):
            read_config(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9, 1e30])
@pytest.mark.parametrize("name", ["kimg", "tick_kimg", "lr", "d_lr", "gamma", "ada_kimg", "ada_target", "ema_kimg"])
def test_an_extreme_number_is_one_problem(name, value):
    with pytest.raises(FigmentError, match=f"^--{name.replace('_', '-')} [^;]*: must be [^;]*$"):
        resolve(Path("a.zip"), "", 16, 3, **{name: value})


@pytest.mark.parametrize("name", ["z_dim", "map_depth", "channel_max", "channel_base", "batch", "keep", "seed"])
def test_an_extreme_whole_number_is_a_problem(name):
    for value in (-1, 10**30):
        with pytest.raises(FigmentError, match=f"--{name.replace('_', '-')} {value}: must be "):
            resolve(Path("a.zip"), "", 16, 3, **{name: value})
