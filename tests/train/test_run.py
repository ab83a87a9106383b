import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import figment
from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_generator
from figment.pack.zips import pack
from figment.train.run import resume_training, start_training
from figment.train.state import checkpoints
from tests.conftest import TINY_GENERATOR
from tests.train.conftest import TINY, run_ranks


def test_a_dry_run_prints_the_configuration_and_writes_nothing(tmp_path, zip_path, capsys):
    start_training(zip_path, tmp_path, dry_run=True, device="cpu", **TINY)
    config = json.loads(capsys.readouterr().out)
    assert config["recipe"]["batch"] == 4 and config["networks"]["resolution"] == 16
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_from_its_folder_alone(tmp_path, zip_path):
    run = start_training(zip_path, tmp_path, device="cpu", **TINY | {"kimg": 0.016})
    assert run.name == "00000-heads"
    assert resume_training(tmp_path, kimg=0.032, device="cpu") == run
    assert len((run / "stats.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("kimg", [float("nan"), float("inf"), -1.0, 0.0, 1e30])
def test_a_length_that_no_run_has_is_refused_before_the_run_is_touched(tmp_path, kimg):
    with pytest.raises(FigmentError, match=f"^--kimg {kimg:g}: must be above 0".replace("+", "[+]")):
        resume_training(tmp_path, kimg=kimg)


def packed_again(path, source, pictures=10):
    """Write the pictures of the zip `source`, the last one repeatedly if it has fewer, as another tool packs them."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        names = sorted(name for name in old.namelist() if name.endswith(".png"))
        new.writestr("art/", "")
        for i in range(pictures):
            new.writestr(f"art/{i:04d}.png", old.read(names[min(i, len(names) - 1)]))
        new.writestr("__MACOSX/art/._0000.png", "fork")
    return path


def test_a_run_goes_on_with_the_same_pictures_wherever_they_are(tmp_path, zip_path):
    data = Path(shutil.copy(zip_path, tmp_path / "heads.zip"))
    run = start_training(data, tmp_path / "runs", device="cpu", **TINY | {"kimg": 0.004})
    again = packed_again(tmp_path / "again.zip", data)
    data.unlink()
    with pytest.raises(FigmentError) as raised:
        resume_training(run, kimg=0.008, device="cpu")
    assert str(raised.value) == (
        f"--resume {run}: its data set is not at {data} any more; give its new place as DATA: figment train DATA "
        f"--resume -o {run}"
    )
    assert resume_training(run, data=again, kimg=0.008, device="cpu") == run
    assert resume_training(run, kimg=0.012, device="cpu") == run  # it knows the new place


def test_other_pictures_are_named_with_the_way_on(tmp_path, zip_path):
    run = start_training(zip_path, tmp_path / "runs", device="cpu", **TINY | {"kimg": 0.004})
    more = packed_again(tmp_path / "more.zip", zip_path, pictures=12)
    with pytest.raises(FigmentError) as raised:
        resume_training(run, data=more, kimg=0.008, device="cpu")
    assert str(raised.value) == (
        f"DATA {more}: holds 12 pictures, but not the pictures that {run} was started with (10); to go on with them in "
        f"a new run: figment train {more} --init {run}"
    )
    (run / "model.safetensors").unlink()
    with pytest.raises(FigmentError, match=r"was started with \(unknown\)"):
        resume_training(run, data=more, kimg=0.008, device="cpu")


def test_a_time_budget_becomes_kimg(tmp_path, zip_path, capsys):
    given = {name: value for name, value in TINY.items() if name != "kimg"}
    run = start_training(zip_path, tmp_path, sec=1.0, device="cpu", **given)
    kimg = json.loads((run / "config.json").read_text())["schedule"]["kimg"]
    assert 0.004 <= kimg < 20 and "s/kimg on this machine" in capsys.readouterr().out


RANK = """
import os, sys, time, torch
from pathlib import Path
from figment.train import run as training
from tests.train import conftest
torch.set_num_threads(1)
if os.environ["RANK"] == "1":
    training.new_run = lambda runs, name: runs / "another"
given = {name: value for name, value in conftest.TINY.items() if name != "kimg"}
training.start_training(Path(sys.argv[1]), Path(sys.argv[2]), sec=2.0, device="cpu", **given)
"""

RESUMING_RANK = """
import sys, torch
from pathlib import Path
from figment.train import run as training
torch.set_num_threads(1)
run, = Path(sys.argv[1]).iterdir()
training.resume_training(run, kimg=training.read_config(run / "config.json").schedule.kimg + 0.016, device="cpu")
"""


@pytest.mark.slow
def test_ranks_plan_the_same_run_and_resume_it(tmp_path, zip_path):
    run_ranks(tmp_path, RANK, zip_path, tmp_path / "runs")
    run_ranks(tmp_path, RESUMING_RANK, tmp_path / "runs")
    (run,) = (tmp_path / "runs").iterdir()
    kimg = json.loads((run / "config.json").read_text())["schedule"]["kimg"]
    assert run.name == "00000-heads" and checkpoints(run)[-1].name == f"img{round(kimg * 1000 / 4) * 4:09d}.pt"


def test_a_model_gives_its_networks_to_a_run(tmp_path, zip_path):
    first = start_training(zip_path, tmp_path, device="cpu", **TINY | {"kimg": 0.016})
    given = {"kimg": 0.032, "tick_kimg": 0.016, "batch": 4, "r1_interval": 2, "init": str(first)}
    second = start_training(zip_path, tmp_path, device="cpu", **given)
    configs = [json.loads((run / "config.json").read_text()) for run in (first, second)]
    assert configs[1]["generator"]["z_dim"] == 8
    assert configs[1]["discriminator"]["channel_base"] == configs[0]["discriminator"]["channel_base"] == 64

    # Its first grid of fakes is what the first run ended with; it resumes without the file it started from.
    assert (second / "fakes" / "img000000000.png").read_bytes() == (first / "fakes" / "img000000016.png").read_bytes()
    (first / "model.safetensors").unlink()
    assert resume_training(second, kimg=0.048, device="cpu") == second


def test_a_model_of_another_resolution_is_one_line(tmp_path, zip_path, monkeypatch):
    run = start_training(zip_path, tmp_path, device="cpu", **TINY | {"kimg": 0.004})
    monkeypatch.setattr("figment.pack.dataset.ImageDataset.resolution", 32)
    with pytest.raises(FigmentError, match=r"--init .*: draws 16 px, the data have 32 \(can be grown\); use --adapt"):
        start_training(zip_path, tmp_path, device="cpu", init=str(run))


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("sg1_tiny.pkl", "stylegan1"),
        ("sg2_tiny.pkl", "stylegan2"),
        ("pg_tiny.pkl", "progan"),
        ("ada_tiny_cond.pkl", "stylegan2"),
    ],
)
def test_every_origin_can_be_gone_on_from(tmp_path, name, family):
    source = Path(__file__).parents[1] / "data" / name
    rng = np.random.default_rng(0)
    for i in range(6):
        write_png(tmp_path / "in" / f"{i}.png", rng.integers(0, 256, (16, 16, 3), np.uint8))
    data = tmp_path / "heads.zip"
    pack(tmp_path / "in", data, resolution=16)
    given = {"kimg": 0.016, "tick_kimg": 0.008, "batch": 4, "r1_interval": 2, "init": str(source), "adapt": True}
    run = start_training(data, tmp_path, device="cpu", **given)
    model = figment.load(str(run))
    assert model.config["generator"]["family"] == family
    assert model.g_ema(torch.randn(2, model.g_ema.z_dim)).shape == (2, 3, 16, 16)
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert all(np.isfinite(list(row.values())).all() for row in rows)


def test_a_missing_data_set_names_the_argument(tmp_path):
    with pytest.raises(FigmentError, match="DATA .*no such file"):
        start_training(tmp_path / "none.zip", tmp_path, device="cpu")


class Noted:
    """Stands in for the monitor of scores; its scorer is what the scorer was made of."""

    def __init__(self, run, scorer, *, every):
        self.seen = [(*scorer[:1], every, *scorer[1:])]
        Noted.last = self

    def watch(self, g, kimg):
        self.seen.append((g.resolution, kimg))


def test_the_averaged_generator_is_scored_after_each_tick(tmp_path, zip_path, monkeypatch):
    scorer = lambda images, digest, *, cache, features, device: (len(images), device, features)  # noqa: E731
    monkeypatch.setattr("figment.train.run.QuickScore", scorer)
    monkeypatch.setattr("figment.train.run.Monitor", Noted)
    start_training(zip_path, tmp_path, device="cpu", **TINY | {"kimg": 0.032, "score_ticks": 2})
    assert Noted.last.seen == [(10, 2, "cpu", "heads"), (16, 0.016), (16, 0.032)]
    del Noted.last
    start_training(zip_path, tmp_path, device="cpu", **TINY | {"kimg": 0.016, "score_ticks": 0})
    assert not hasattr(Noted, "last")


def test_a_projected_discriminator_is_not_scored_with_its_own_features(tmp_path, monkeypatch, capsys):
    for i in range(10):
        write_png(tmp_path / "in" / f"{i}.png", np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8))
    pack(tmp_path / "in", tmp_path / "heads.zip", resolution=32)
    scorer = lambda images, digest, *, cache, features, device: (len(images), device, features)  # noqa: E731
    monkeypatch.setattr("figment.train.run.QuickScore", scorer)
    monkeypatch.setattr("figment.train.run.Monitor", Noted)
    given = TINY | {"kimg": 0.016, "discriminator": "projected"}
    start_training(tmp_path / "heads.zip", tmp_path, device="cpu", **given)
    assert Noted.last.seen[0] == (10, 1, "cpu", "parts") and "scores are FD-parts" in capsys.readouterr().out


@pytest.mark.slow
def test_scores_leave_a_run_as_it_is(tmp_path, zip_path, monkeypatch):
    from figment.score.monitor import Monitor, QuickScore

    few = lambda *given, **named: QuickScore(*given, **named, count=8)  # noqa: E731
    eager = lambda *given, **named: Monitor(*given, **named, share=1e9)  # noqa: E731
    monkeypatch.setattr("figment.train.run.QuickScore", few)
    monkeypatch.setattr("figment.train.run.Monitor", eager)
    scored = start_training(zip_path, tmp_path, device="cpu", **TINY | {"kimg": 0.032})
    plain = start_training(zip_path, tmp_path, device="cpu", **TINY | {"kimg": 0.032, "score_ticks": 0})
    rows = [json.loads(line) for line in (scored / "scores.jsonl").read_text().splitlines()]
    assert [row["kimg"] for row in rows] == [0.016, 0.032] and (scored / "best.safetensors").is_file()
    assert not (plain / "scores.jsonl").exists()
    grids = [(run / "fakes" / "img000000032.png").read_bytes() for run in (scored, plain)]
    assert grids[0] == grids[1]


def test_a_model_of_oblong_pictures_is_one_line(tmp_path, zip_path):
    save(tmp_path / "wide.safetensors", Model(g_ema=build_generator({**TINY_GENERATOR, "start": (4, 2)})))
    for adapt in (False, True):
        with pytest.raises(FigmentError, match=r"--init .*: draws 8x16 px, and training needs a network of squares$"):
            start_training(zip_path, tmp_path / "runs", init=str(tmp_path / "wide.safetensors"), adapt=adapt, **TINY)
