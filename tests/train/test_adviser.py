"""Signs of trouble in made-up rows, and what a tiny real run is advised. docs/training.md names longer real runs."""

import dataclasses
import json

import numpy as np
import pytest

from figment.train.adviser import FIRST, HOLD, LEAST_IMAGES, LEAST_SCORES, RISING_TICKS, advise, diversity
from figment.train.config import resolve
from figment.train.loop import train
from tests.train.conftest import TINY, changed

PICTURES = 1000
HEALTHY = {"loss_g": 1.5, "loss_d": 1.0, "sign_real": 0.5, "sign_fake": -0.5, "diversity": 0.8}
MEMORIZED = {"loss_d": 0.1, "sign_real": 0.99, "sign_fake": -0.98}


@pytest.fixture
def config(tiny):
    """A run with the logistic loss, R1 and no augmentation."""
    return changed(tiny, augment="none", gamma=1.0)


def history(config, *ticks, scores=(), pictures=PICTURES, kimg=1.0):
    """Rows of ticks of `kimg` each, with the advice that each was given when it was the newest."""
    rows = []
    for number, values in enumerate(ticks):
        rows.append({"tick": number, "kimg": (number + 1) * kimg, **HEALTHY, **values})
        if advice := advise(rows, scores, config, pictures):
            rows[-1]["advice"] = advice
    return rows


def given(rows):
    """The ticks that gave advice, with the names of the signs."""
    return {row["tick"]: list(row["advice"]) for row in rows if "advice" in row}


def line_of(rows):
    """The only line of advice of a run."""
    (line,) = (line for row in rows for line in row.get("advice", {}).values())
    return line


def losing(count, start=2.0, step=0.3):
    """Ticks in which D wins, and G's loss rises."""
    return [MEMORIZED | {"loss_g": start + step * tick} for tick in range(count)]


# --- Diversity


def kinds(count, number, rng):
    """`count` images of `number` kinds, nearly equal within a kind."""
    base = rng.integers(0, 256, (number, 3, 32, 32))
    images = base[np.arange(count) % number] + rng.integers(-3, 4, (count, 3, 32, 32))
    return images.clip(0, 255).astype(np.uint8)


def test_diversity_is_one_for_the_data_and_near_zero_for_a_few_kinds():
    rng = np.random.default_rng(0)
    reals = kinds(100, 100, rng)
    assert diversity(kinds(100, 100, rng), reals) == pytest.approx(1, abs=0.1)
    assert diversity(kinds(100, 1, rng), reals) < 0.1
    assert diversity(kinds(100, 3, rng), reals) < 0.1
    assert diversity(kinds(100, 50, rng), reals) < 0.1  # every image has a twin


def test_speckle_is_no_diversity():
    rng = np.random.default_rng(0)
    reals = kinds(50, 50, rng)
    speckled = np.full((50, 3, 32, 32), 128) + rng.integers(-40, 41, (50, 3, 32, 32))
    blocks = reals.reshape(50, 3, 16, 2, 16, 2).mean((3, 5), keepdims=True).astype(np.uint8)
    flat = np.broadcast_to(blocks, (50, 3, 16, 2, 16, 2)).reshape(50, 3, 32, 32)
    assert diversity(speckled.astype(np.uint8), flat) < 0.5


def test_diversity_needs_enough_images_that_differ():
    rng = np.random.default_rng(0)
    few = kinds(LEAST_IMAGES - 1, 30, rng)
    many = kinds(100, 100, rng)
    assert diversity(many, few) is None and diversity(few, many) is None
    assert diversity(many, np.zeros((100, 3, 32, 32), np.uint8)) is None
    assert diversity(many, many[:LEAST_IMAGES]) is not None


# --- Signs


def test_a_healthy_run_gets_no_advice(config):
    rng = np.random.default_rng(0)
    ticks = [{name: value + rng.uniform(-0.15, 0.15) for name, value in HEALTHY.items()} for _ in range(60)]
    assert given(history(config, *ticks)) == {}


def test_collapse(config):
    rows = history(config, *[{}] * 6, *[{"diversity": 0.2}] * 6)
    assert given(rows) == {5 + HOLD: ["collapse"]}
    assert "--gamma 3 or --lr" in line_of(rows) and "0.20 times" in line_of(rows)


def test_pictures_that_d_has_seen_often_are_memorized(config):
    rows = history(config, *[MEMORIZED] * 20, pictures=100)
    assert given(rows) == {FIRST + HOLD - 1: ["overfitting"]}
    assert "--augment ada or --freeze-d 4 or more pictures" in line_of(rows)
    assert given(history(config, *[MEMORIZED] * 20)) == {}  # each was seen 20 times
    assert given(history(config, *[{}] * 20, pictures=100)) == {}


def test_d_that_wins_before_it_can_know_the_pictures_is_too_strong(config):
    rows = history(config, *[{}] * 4, *losing(20))
    assert list(given(rows).values()) == [["strong_d"]]
    assert "--gamma 3 or --d-lr 0.5" in line_of(rows)
    swinging = [MEMORIZED | {"loss_g": 3.5 + 0.5 * (-1) ** tick} for tick in range(30)]
    assert given(history(config, *swinging)) == {}


def test_advice_names_only_what_a_run_does_not_have(config):
    has_all = changed(config, augment="ada", freeze_d=2)
    assert line_of(history(has_all, *[MEMORIZED] * 20, pictures=100)).endswith("What helps is more pictures")
    without_r1 = changed(config, gamma=0.0, loss="hinge")
    assert line_of(history(without_r1, *[{}] * 4, *losing(20))).endswith("Try --d-lr 0.5")


@pytest.mark.parametrize(("loss", "value"), [("logistic", 1.37), ("hinge", 1.97)])
def test_d_that_gives_every_image_the_same_logit(config, loss, value):
    run = changed(config, loss=loss)
    rows = history(run, *[{"loss_d": value}] * 12)
    assert given(rows) == {FIRST + HOLD - 1: ["weak_d"]}
    assert "--gamma 0.33 or --d-lr 3" in line_of(rows)
    assert given(history(run, *[{"loss_d": value * 0.95}] * 12)) == {}


def test_augmentation_that_is_strong_or_rises_without_a_stop(config):
    ada = changed(config, augment="ada")
    strong = history(ada, *[{"ada_p": 0.5}] * 6, *[{"ada_p": 0.85}] * 8)
    assert given(strong) == {5 + HOLD: ["leak"]}
    assert "--ada-target 0.8" in line_of(strong) and "--augment ada" not in line_of(strong)
    rising = history(ada, *[{"ada_p": 0.3 + 0.01 * tick} for tick in range(40)])
    assert list(given(rising).values()) == [["leak"]] and "rises all the time" in line_of(rising)
    level = history(ada, *[{"ada_p": 0.6 + 0.01 * (-1) ** tick} for tick in range(RISING_TICKS * 3)])
    assert given(level) == {}


def scored(*distances):
    return [{"kimg": k + 1, "distance": d, "smooth": d, "label": "FD-heads"} for k, d in enumerate(distances)]


def test_scores_that_no_longer_get_better(config):
    falling = [10 / (k + 1) for k in range(10)]
    flat = scored(*falling, *[1.1] * 20)
    rows = history(config, *[{}] * 30, scores=flat, pictures=50)
    assert list(given(rows).values()) == [["exhaustion"]]
    assert "that of kimg 10" in line_of(rows)
    assert given(history(config, *[{}] * 30, scores=flat, pictures=5000)) == {}  # each was seen 6 times
    assert given(history(config, *[{}] * 30, scores=scored(*[5 - 0.1 * k for k in range(30)]), pictures=50)) == {}
    assert given(history(config, *[{}] * 30, scores=flat[: LEAST_SCORES - 1], pictures=50)) == {}


# --- When


def test_the_first_ticks_never_count(config):
    rows = history(config, *[{"diversity": 0.1}] * (FIRST + HOLD - 1))
    assert given(rows) == {}


def test_a_sign_must_hold(config):
    on_and_off = [{"diversity": 0.1 if tick % HOLD else 0.9} for tick in range(40)]
    assert given(history(config, *on_and_off)) == {}


def test_advice_is_repeated_only_after_the_sign_was_away(config):
    bad, fine = {"diversity": 0.1}, {}
    short = history(config, *[fine] * 4, *[bad] * 6, *[fine] * (HOLD - 1), *[bad] * 8)
    assert given(short) == {3 + HOLD: ["collapse"]}
    long = history(config, *[fine] * 4, *[bad] * 6, *[fine] * HOLD, *[bad] * 8)
    assert given(long) == {3 + HOLD: ["collapse"], 9 + 2 * HOLD: ["collapse"]}


def test_the_signs_of_a_wasserstein_critic_mean_nothing(config):
    critic = changed(config, loss="wgan-gp")
    assert given(history(critic, *[{}] * 4, *losing(20), pictures=100)) == {}
    assert given(history(critic, *[{"loss_d": 1.38}] * 12)) == {}
    assert list(given(history(critic, *[{"diversity": 0.1}] * 12)).values()) == [["collapse"]]


def test_networks_that_grow_get_no_advice(config):
    assert given(history(config, *[{"diversity": 0.1, "lod": 1.5}] * 12)) == {}


def test_rows_of_older_versions_have_no_diversity(config):
    assert (
        advise([{"kimg": k + 1.0, **{n: HEALTHY[n] for n in ("loss_g", "loss_d")}} for k in range(20)], [], config, 9)
        == {}
    )


# --- In a run


def test_a_run_says_its_advice_once_and_writes_it_down(dataset, world, tmp_path, capsys):
    """D can't learn at such a learning rate."""
    config = resolve(dataset.path, dataset.digest, 16, 3, **TINY | {"lr": 1e-9, "kimg": 0.016 * 12})
    cut = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, kimg=0.016 * 6))
    train(cut, tmp_path, dataset, world)
    train(config, tmp_path, dataset, world)
    out = capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert {row["tick"]: list(row["advice"]) for row in rows if "advice" in row} == {FIRST + HOLD - 1: ["weak_d"]}
    assert out.count("advice: D learns next to nothing") == 1
