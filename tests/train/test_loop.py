import dataclasses
import errno
import json
import math
import re
import signal
import time

import numpy as np
import pytest
import torch

import figment
from figment.base.device import has_fast_bf16
from figment.base.errors import FigmentError
from figment.pack.dataset import ImageDataset
from figment.train import loop
from figment.train.config import resolve
from figment.train.loop import diagnose, train
from figment.train.state import checkpoints, new_state
from figment.train.trainer import Trainer
from tests.train.conftest import TINY


def plain(value):
    """What a checkpoint holds, tensors as bytes, but for the timings."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items() if not str(key).startswith("sec")}
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def contents(run):
    """Every file of a run but its timings; checkpoints as bytes of networks, optimizers and all else."""
    files = {}
    for path in sorted(run.rglob("*")):
        if path.suffix == ".pt":
            files[path.name] = plain(torch.load(path, weights_only=True))
        elif path.name == "stats.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            files[path.name] = [{k: v for k, v in row.items() if not k.startswith("sec")} for row in rows]
        elif path.is_file():
            files[path.name] = path.read_bytes()
    return files


def cut_short(tiny, kimg):
    return dataclasses.replace(tiny, schedule=dataclasses.replace(tiny.schedule, kimg=kimg))


def test_a_run_leaves_what_the_design_says(tmp_path, tiny, dataset, world, capsys):
    assert train(tiny, tmp_path, dataset, world)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "stats.jsonl",
        "fakes",
        "checkpoints",
        "model.safetensors",
        "reals.png",
    }
    assert [path.name for path in checkpoints(tmp_path)] == ["img000000032.pt", "img000000048.pt"]
    assert len(list((tmp_path / "fakes").iterdir())) == 4
    assert capsys.readouterr().out.count("s/kimg") == 3
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [row["kimg"] for row in rows] == [0.016, 0.032, 0.048]
    assert all(np.isfinite(list(row.values())).all() for row in rows) and "r1" in rows[0]
    model = figment.load(str(tmp_path))
    assert model.config["kimg"] == 0.048 and model.d is not None
    assert model.g_ema.synthesis(model.g_ema.mapping(torch.zeros(2, 8))).shape == (2, 3, 16, 16)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, tiny, dataset, world):
    train(tiny, tmp_path / "whole", dataset, world)
    train(cut_short(tiny, 0.032), tmp_path / "cut", dataset, world)
    train(tiny, tmp_path / "cut", dataset, world)
    assert contents(tmp_path / "whole") == contents(tmp_path / "cut")


def test_a_run_killed_between_a_checkpoint_and_the_rest_is_completed(tmp_path, tiny, dataset, world):
    train(tiny, tmp_path / "run", dataset, world)
    before = contents(tmp_path / "run")
    for name in ("stats.jsonl", "model.safetensors", "fakes/img000000048.png"):
        (tmp_path / "run" / name).unlink()
    train(tiny, tmp_path / "run", dataset, world)
    assert contents(tmp_path / "run") == before


def test_other_data_is_refused(tmp_path, tiny, dataset, world):
    wrong = dataclasses.replace(tiny, digest="other")
    with pytest.raises(FigmentError, match="not the pictures"):
        train(wrong, tmp_path, dataset, world)


def test_a_run_whose_data_stay_on_the_disk_is_the_same_run(tiny, zip_path, dataset, world, tmp_path):
    train(tiny, tmp_path / "held", dataset, world)
    train(tiny, tmp_path / "disk", ImageDataset(zip_path, hold=False), world)
    assert contents(tmp_path / "held") == contents(tmp_path / "disk")


def test_a_collapsed_score_goes_back_to_the_best_checkpoint(tiny, dataset, world, tmp_path, capsys):
    """The third tick of the first try is told to be a collapse, the first to be the best."""
    seen = []

    def judge(state):
        seen.append(state.nimg)
        rows = [{"kimg": nimg / 1000, "distance": 1.0 + nimg, "smooth": 1.0 + nimg} for nimg in seen[:1]]
        (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return "FD-heads 9 is over 4 times the best, 1" if len(seen) == 3 else None

    train(cut_short(tiny, 0.064), tmp_path, dataset, world, judge)
    assert seen == [16, 32, 48, 32, 48, 64]
    assert "back to 0.0 kimg, with 0.5 times the learning rate" in capsys.readouterr().out
    assert "img000000016.pt" in [path.name for path in checkpoints(tmp_path)]  # the best one stays


def test_a_signal_ends_a_score_at_once(tiny, dataset, world, tmp_path, capsys):
    """The score of the second tick would take a minute."""

    def judge(state):
        if state.nimg == 32:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(60)

    start = time.monotonic()
    assert not train(tiny, tmp_path, dataset, world, judge)
    assert time.monotonic() - start < 30
    assert "stopped at 0.0 kimg; resume with" in capsys.readouterr().out
    assert checkpoints(tmp_path)[-1].name == "img000000032.pt"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_status_line_shows_score_and_memory(tiny, dataset, world, tmp_path, capsys):
    def judge(state):
        row = {"kimg": state.nimg / 1000, "distance": 0.25, "smooth": 0.125, "label": "FD-heads"}
        (tmp_path / "scores.jsonl").write_text(json.dumps(row) + "\n")

    train(tiny, tmp_path, dataset, world, judge)
    first, second, _ = (line for line in capsys.readouterr().out.splitlines() if line.startswith("tick"))
    assert "FD-heads" not in first and "FD-heads 0.1250" in second
    assert float(re.search(r"([\d.]+) GB$", first)[1]) > 0


def test_a_disk_that_fills_up_leaves_a_run_that_goes_on(tiny, dataset, world, tmp_path, monkeypatch):
    train(tiny, tmp_path / "whole", dataset, world)
    original, calls = torch.save, [0]

    def fills_up(values, path):
        calls[0] += 1
        if calls[0] == 3:
            path.write_bytes(b"PK half a checkpoint")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(values, path)

    monkeypatch.setattr(torch, "save", fills_up)
    with pytest.raises(OSError, match="No space left on device"):
        train(tiny, tmp_path / "cut", dataset, world)
    left = sorted(path.name for path in (tmp_path / "cut" / "checkpoints").iterdir())
    assert left == ["img000000000.pt", "img000000016.pt"]
    assert train(tiny, tmp_path / "cut", dataset, world)
    assert contents(tmp_path / "whole") == contents(tmp_path / "cut")


@pytest.mark.slow
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
    original, count = Trainer.step, [0]

    def counted(trainer):
        count[0] += 1
        if count[0] == 23:
            signal.raise_signal(signal.SIGTERM)
        return original(trainer)

    monkeypatch.setattr(Trainer, "step", counted)
    assert not train(config, tmp_path / "cut", dataset, world)
    assert count[0] == 23
    assert train(config, tmp_path / "cut", dataset, world)
    assert contents(tmp_path / "whole") == contents(tmp_path / "cut")


def test_broken_states_are_noticed_and_rolled_back(tmp_path, tiny, dataset, world, capsys, monkeypatch):
    original, calls = Trainer.step, [0]

    def poisoned(trainer):
        calls[0] += 1
        stats = original(trainer)
        if calls[0] == 6:
            next(trainer.state.g.parameters()).data.fill_(float("nan"))
        return stats

    monkeypatch.setattr(Trainer, "step", poisoned)
    assert train(tiny, tmp_path, dataset, world)
    out = capsys.readouterr().out
    assert "NaN or infinite: back to 0.0 kimg, with 0.5 times the learning rate" in out
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [row["kimg"] for row in rows] == [0.016, 0.032, 0.048]
    assert all(np.isfinite(list(row.values())).all() for row in rows)


def test_a_discriminator_that_nothing_fools_is_noticed(tiny):
    state = new_state(tiny, torch.device("cpu"))
    row = {"sign_real": 1.0, "sign_fake": -1.0, "loss_g": 30.0}
    assert "can't fool the discriminator" in (diagnose(row, state) or "")
    assert diagnose(row | {"loss_g": 5.0}, state) is None
    assert diagnose(row | {"loss_d": math.nan}, state) == "loss_d is NaN or infinite"
    assert diagnose(row | {"loss_d": math.nan, "r1": math.inf}, state) == "loss_d, r1 are NaN or infinite"


def test_a_run_that_stays_broken_gives_up(tmp_path, tiny, dataset, world, monkeypatch):
    monkeypatch.setattr(loop, "diagnose", lambda row, state: "loss_d is NaN or infinite")
    with pytest.raises(FigmentError, match="after 5 rollbacks; try a smaller --lr"):
        train(tiny, tmp_path, dataset, world)
