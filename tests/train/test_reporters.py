"""The status line, and what TensorBoard finds of a run, read with TensorBoard's own reader."""

import dataclasses
import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from figment.base.device import World
from figment.base.parse import clock
from figment.train.loop import train
from figment.train.reporters import Reporter, status_line

ROW = {
    "tick": 3,
    "kimg": 40.0,
    "sec_per_kimg": 36.0,
    "loss_g": 0.5,
    "loss_d": 1.25,
    "sign_real": 0.4,
    "ada_p": 0.125,
    "lod": 1.5,
}


def test_a_tick_is_one_line():
    score = {"smooth": 0.125, "label": "FD-heads"}
    line = status_line(ROW, total_kimg=140, utilization=0.25, score=score, memory=1_500_000_000)
    assert line == (
        f"tick 3    kimg     40.0 / 140    36.00 s/kimg (25% of ceiling)   left {clock(3600)}   G 0.50   D 1.25"
        "   D(real) +0.40   ADA 0.125   lod 1.50   FD-heads 0.1250   1.5 GB"
    )
    plain = status_line({name: value for name, value in ROW.items() if name not in ("ada_p", "lod")}, total_kimg=140)
    assert plain.endswith("D(real) +0.40") and "ceiling" not in plain


def test_only_the_main_rank_reports(tiny, tmp_path, capsys):
    for rank in (1, 0):
        with Reporter(tmp_path, tiny.schedule, World(rank, 2, torch.device("cpu"))) as reporter:
            reporter.begin(0)
            reporter.progress(16, 1.0)
            reporter.say("a line")
            reporter.write_history([ROW])
            reporter.tick(ROW, np.zeros((4, 4), np.uint8), None)
        out = capsys.readouterr().out.splitlines()
        assert (len(out), (tmp_path / "stats.jsonl").exists()) == ((0, False) if rank else (2, True))
    assert json.loads((tmp_path / "stats.jsonl").read_text()) == ROW


def test_advice_follows_the_status_line(tiny, world, tmp_path, capsys):
    schedule = dataclasses.replace(tiny.schedule, tensorboard=find_spec("tensorboard") is not None)
    with Reporter(tmp_path, schedule, world) as reporter:
        reporter.begin(0)
        reporter.tick(ROW | {"advice": {"leak": "look for tilted fakes"}}, np.zeros((4, 4), np.uint8), None)
    status, advice = capsys.readouterr().out.splitlines()
    assert status.startswith("tick 3") and advice == "advice: look for tilted fakes"


def test_every_tick_is_there_and_a_resumed_run_goes_on(tiny, dataset, world, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    schedule = dataclasses.replace(tiny.schedule, tensorboard=True)
    train(dataclasses.replace(tiny, schedule=dataclasses.replace(schedule, kimg=0.032)), tmp_path, dataset, world)
    train(dataclasses.replace(tiny, schedule=schedule), tmp_path, dataset, world)

    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss_g")] == [16, 32, 48]
    assert [event.step for event in events.Images("fakes")] == [16, 32, 48]


def test_without_being_asked_nothing_is_written(tiny, dataset, world, tmp_path):
    train(tiny, tmp_path, dataset, world)
    assert not (tmp_path / "tensorboard").exists()
