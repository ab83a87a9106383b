"""Operations, utilization and speed: counted while a run trains, without changing it."""

import dataclasses

import pytest
import torch

from figment.train.cost.throughput import FlopCounter, Utilization, measure_sec_per_kimg, peak_matmul_gflops
from tests.train.conftest import make_trainer


def test_products_and_convolutions_are_counted():
    with FlopCounter() as counter:
        torch.ones(3, 4) @ torch.ones(4, 5)
        torch.nn.functional.conv2d(torch.ones(2, 3, 8, 8), torch.ones(7, 3, 3, 3))
    assert counter.total == 2 * 3 * 4 * 5 + 2 * 2 * 7 * 6 * 6 * 3 * 9


def test_each_kind_of_step_is_counted_once_and_the_share_follows_from_the_pace(tiny, dataset, world):
    utilization, trainer = Utilization(tiny, world), make_trainer(tiny, dataset, world)
    totals = []
    for _ in range(4):
        with utilization.counting(trainer):
            trainer.step()
        totals.append(dict(utilization.flops))
    assert set(totals[0]) == {(True, False)} and totals[1] == totals[3]
    assert totals[1][True, False] > totals[1][False, False] > 0  # R1 costs more

    # Half of the steps carry R1 here; twice the time is half the share.
    step = sum(totals[1].values()) / 2
    assert utilization.share(1.0) == pytest.approx(step / 1e9 / (tiny.recipe.batch / 1000) / utilization.peak_gflops)
    assert utilization.share(2.0) == pytest.approx(utilization.share(1.0) / 2)


def test_there_is_no_share_before_all_kinds_were_seen_or_if_networks_grow(tiny, world):
    assert Utilization(tiny, world).share(1.0) is None
    growing = dataclasses.replace(tiny, schedule=dataclasses.replace(tiny.schedule, growing=True))
    assert Utilization(growing, world).share(1.0) is None


def test_a_trial_measures_a_speed(tiny, dataset, world):
    assert 0 < measure_sec_per_kimg(tiny, dataset, world) < 1000


def test_the_peak_is_a_speed():
    assert peak_matmul_gflops(torch.device("cpu"), torch.float32, 0.0) > 0
