import json

import numpy as np
import pytest
import torch

from figment.models import load
from figment.score.monitor import Monitor, QuickScore, best_kimg
from tests.score.conftest import blobs

IMAGES = np.stack([blobs(i).transpose(2, 0, 1) for i in range(20)])


class Clock:
    """Time that passes only when told to, and a little at each look."""

    def __init__(self, tick=0.01):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


class Fixed:
    """A scorer that finds these distances one after the other; each takes `cost` seconds of the clock."""

    def __init__(self, distances, clock=None, cost=0.0, label="FD-heads"):
        self.left, self.clock, self.estimate, self.label = list(distances), clock, cost, label

    def __call__(self, g, has_time):
        if self.clock:
            self.clock.now += self.estimate
        return {"distance": self.left.pop(0), "label": self.label, "images": 10}


class OutOfMemory:
    estimate = 0.0

    def __call__(self, g, has_time):
        raise torch.OutOfMemoryError("CUDA out of memory")


def monitor(run, told=None, scorer=None, reals=1000, **settings):
    settings = {"share": 1e9, "clock": Clock(), **settings}
    scorer = scorer or QuickScore(IMAGES, "abc", cache=run, count=10, reals=reals, clock=settings["clock"])
    return Monitor(run, scorer, tell=(told if told is not None else []).append, **settings)


def test_a_score_is_written_and_the_same_again(make_run, generator):
    run, told = make_run("00000-a"), []
    scores = monitor(run, told)
    before = torch.get_rng_state()
    row = scores(generator, 1.0)
    assert torch.equal(before, torch.get_rng_state())
    assert row["distance"] > 0 and row["images"] == 10 and row["reference"] == "abc-20" and row["best"]
    assert json.loads((run / "scores.jsonl").read_text()) == row
    assert load(run / "best.safetensors").config["kimg"] == 2.0
    assert "FD-heads" in told[0] and "the best so far" in told[0]
    assert monitor(run)(generator, 1.0)["distance"] == row["distance"]


def test_only_each_so_many_ticks(make_run, generator):
    scores = monitor(make_run("00000-a"), scorer=Fixed([1.0] * 9), every=3)
    assert [scores(generator, float(i)) is not None for i in range(7)] == [True, False, False] * 2 + [True]


def test_scores_take_their_share_of_the_time_and_no_more(make_run, generator):
    clock = Clock(0.0)
    scorer = Fixed([1.0] * 999, clock, cost=10.0)
    scores = monitor(make_run("00000-a"), scorer=scorer, share=0.05, clock=clock)
    for i in range(100):
        clock.now += 30
        scores(generator, float(i))
        assert scores.spent <= 0.05 * clock.now
    assert scores.spent > 100


def test_the_first_score_waits_until_there_is_time(make_run, generator):
    clock = Clock(1.0)
    scores = monitor(make_run("00000-a"), share=0.05, clock=clock)
    assert scores(generator, 0.0) is None and scores.scorer.estimate > 0
    clock.now += 1e6
    assert scores(generator, 1.0) is not None


def test_nothing_is_fatal_and_three_failures_end_it(make_run):
    told = []
    scores = monitor(make_run("00000-a"), told)
    assert [scores(None, float(i)) for i in range(5)] == [None] * 5
    assert len(told) == 3 and told[0].startswith("score skipped at kimg 0") and "no more scores" in told[2]


def test_out_of_memory_is_not_fatal(make_run, generator):
    told = []
    scores = monitor(make_run("00000-a"), told, OutOfMemory())
    assert scores(generator, 1.0) is None and "out of memory" in told[0]


def test_one_spike_is_no_alarm_and_no_best(make_run, generator):
    told = []
    run = make_run("00000-a")
    scores = monitor(run, told, Fixed([5.0, 4.0, 3.0, 30.0, 3.0, 3.0, 0.5, 3.0, 2.9]))
    rows = [scores(generator, float(i)) for i in range(9)]
    assert [row["best"] for row in rows] == [True, True, True, False, True, False, False, False, True]
    assert not [line for line in told if "rising" in line]


def test_a_curve_that_turns_is_told_once(make_run, generator):
    told = []
    scores = monitor(make_run("00000-a"), told, Fixed([5.0, 2.0, 2.0, 2.1, 4.0, 4.5, 5.0, 6.0]))
    for i in range(8):
        scores(generator, float(i))
    assert sum("has been rising since kimg" in line for line in told) == 1


def test_a_run_that_went_back_in_time_forgets_what_came_after(make_run, generator):
    run = make_run("00000-a")
    first = monitor(run, scorer=Fixed([3.0, 2.0, 1.0]))
    for i in range(3):
        first(generator, float(i))
    (run / "scores.jsonl").write_text((run / "scores.jsonl").read_text() + '{"kimg": 9, "dist')
    second = monitor(run, scorer=Fixed([2.5]))
    second(generator, 1.0)
    rows = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    assert [(row["kimg"], row["distance"]) for row in rows] == [(0.0, 3.0), (1.0, 2.5)]


def test_scores_of_other_features_are_not_compared(make_run, generator):
    run, told = make_run("00000-a"), []
    before = monitor(run, scorer=Fixed([0.3, 0.2, 0.1]))
    for i in range(3):
        before(generator, float(i))
    after = monitor(run, told, scorer=Fixed([9.0, 8.0, 8.5, 60.0, 60.0], label="FD-parts"))
    rows = [after(generator, 3.0 + i) for i in range(3)]
    assert [row["best"] for row in rows] == [True, True, False] and rows[0]["smooth"] == 9.0
    assert after.collapsed is None and best_kimg(run) == 4.0
    assert [line for line in told if "don't compare" in line] == told[:1] and "FD-heads" in told[0]
    assert len((run / "scores.jsonl").read_text().splitlines()) == 6  # the old scores stay
    for i in range(2):
        after(generator, 6.0 + i)
    assert after.collapsed is not None and after.collapsed.startswith("FD-parts 60.000")


@pytest.mark.parametrize("reals, used", [(5, 5), (100, 20)])
def test_the_reference_is_spread_evenly(make_run, reals, used):
    scores = monitor(make_run("00000-a"), reals=reals)
    assert len(scores.scorer.source) == used
    pictures = [image for _, image in scores.scorer.source]
    assert np.array_equal(pictures[0], IMAGES[0])
    assert np.array_equal(pictures[-1], IMAGES[-1])
