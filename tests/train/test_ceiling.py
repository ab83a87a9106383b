"""The share of the ceiling: counted while a run trains, without changing it."""

import dataclasses

import pytest
import torch

from figment.pack.sampler import EndlessSampler
from figment.train.ceiling import Ceiling, Counter, matmul_ceiling
from figment.train.state import new_state
from figment.train.step import train_step


def test_products_and_convolutions_are_counted():
    with Counter() as counter:
        torch.ones(3, 4) @ torch.ones(4, 5)
        torch.nn.functional.conv2d(torch.ones(2, 3, 8, 8), torch.ones(7, 3, 3, 3))
    assert counter.total == 2 * 3 * 4 * 5 + 2 * 2 * 7 * 6 * 6 * 3 * 9


def test_each_kind_of_step_is_counted_once_and_the_share_follows_from_the_pace(tiny, dataset, world):
    ceiling, state = Ceiling(tiny, world), new_state(tiny, world.device)
    images, sampler = torch.from_numpy(dataset.held), EndlessSampler(len(dataset), 0, True)
    totals = []
    for _ in range(4):
        with ceiling.counting(state):
            train_step(tiny, state, images, sampler, world)
        totals.append({kind: counter.total for kind, counter in ceiling.counters.items()})
    assert set(totals[0]) == {(True, False)} and totals[1] == totals[3]
    assert totals[1][True, False] > totals[1][False, False] > 0  # R1 costs more

    # Half of the steps carry R1 here; twice the time is half the share.
    step = sum(totals[1].values()) / 2
    assert ceiling.share(1.0) == pytest.approx(step / 1e9 / (tiny.recipe.batch / 1000) / ceiling.gflops)
    assert ceiling.share(2.0) == pytest.approx(ceiling.share(1.0) / 2)


def test_there_is_no_share_before_all_kinds_were_seen_or_where_networks_grow(tiny, world):
    assert Ceiling(tiny, world).share(1.0) is None
    growing = dataclasses.replace(tiny, schedule=dataclasses.replace(tiny.schedule, growing=True))
    assert Ceiling(growing, world).share(1.0) is None


def test_the_ceiling_is_a_speed():
    assert matmul_ceiling(torch.device("cpu"), torch.float32, 0.0) > 0
