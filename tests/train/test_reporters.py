"""The status line, and what TensorBoard finds of a run, read with TensorBoard's own reader."""

import dataclasses

import pytest

from figment.train.loop import train

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def test_every_tick_is_there_and_a_resumed_run_goes_on(tiny, dataset, world, tmp_path):
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
