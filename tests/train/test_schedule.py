"""The schedule against the published one, written out by hand and as a line through its corners."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from figment.nets import progan, stylegan1
from figment.nets.registry import build_discriminator
from figment.train.config import resolve
from figment.train.schedule import due_regularizers, fade_reals, growth_at, kinds_of_step, layers_changed, schedule_at
from tests.train.conftest import changed

STYLEGAN1, PROGAN = stylegan1.growth(), progan.growth()

# StyleGAN at 1024x1024 on one GPU: lod 7 is 8x8, and every 1,200 kimg the size has doubled.
#          kimg   lod   size  batch lr      tick  phase
PUBLISHED = [
    (0,     7,     8,    128, 0.001,  140, "stabilise"),
    (300,   7,     8,    128, 0.001,  140, "stabilise"),
    (600,   7,     8,    128, 0.001,  140, "stabilise"),
    (750,   6.75,  16,   128, 0.001,  120, "fade"),
    (900,   6.5,   16,   128, 0.001,  120, "fade"),
    (1200,  6,     16,   128, 0.001,  120, "stabilise"),
    (1800,  6,     16,   128, 0.001,  120, "stabilise"),
    (2100,  5.5,   32,   64,  0.001,  100, "fade"),
    (2400,  5,     32,   64,  0.001,  100, "stabilise"),
    (3150,  4.75,  64,   32,  0.001,  80,  "fade"),
    (3600,  4,     64,   32,  0.001,  80,  "stabilise"),
    (4200,  4,     64,   32,  0.001,  80,  "stabilise"),
    (4500,  3.5,   128,  16,  0.0015, 60,  "fade"),
    (4800,  3,     128,  16,  0.0015, 60,  "stabilise"),
    (5700,  2.5,   256,  8,   0.002,  40,  "fade"),
    (6000,  2,     256,  8,   0.002,  40,  "stabilise"),
    (6900,  1.5,   512,  4,   0.003,  30,  "fade"),
    (7200,  1,     512,  4,   0.003,  30,  "stabilise"),
    (7950,  0.75,  1024, 4,   0.003,  20,  "fade"),
    (8400,  0,     1024, 4,   0.003,  20,  "stabilise"),
    (12000, 0,     1024, 4,   0.003,  20,  "stabilise"),
    (25000, 0,     1024, 4,   0.003,  20,  "stabilise"),
]  # fmt: skip


@pytest.mark.parametrize("row", PUBLISHED)
def test_stylegan_at_published_marks(row):
    kimg, lod, resolution, minibatch, lr, tick, phase = row
    now = growth_at(kimg, 1024, STYLEGAN1)
    assert (now.lod, now.resolution, now.minibatch, now.lr, now.tick_kimg, now.phase) == (
        lod,
        resolution,
        minibatch,
        lr,
        tick,
        phase,
    )


@pytest.mark.parametrize(("phases", "initial"), [(STYLEGAN1, 8), (PROGAN, 4)])
@pytest.mark.parametrize("resolution", [64, 512, 1024])
def test_lod_is_a_line_through_its_corners_every_20_kimg(phases, initial, resolution):
    doublings = int(np.log2(resolution // initial))
    corners = [(1200 * i + kimg, doublings - i) for i in range(doublings) for kimg in (0, 600)]
    corners.append((1200 * doublings, 0))
    marks = np.arange(0, 12020, 20)
    expected = np.interp(marks, *zip(*corners, strict=True))
    found = [growth_at(float(kimg), resolution, phases) for kimg in marks]
    assert [now.lod for now in found] == pytest.approx(expected, abs=1e-12)
    assert [now.resolution for now in found] == [resolution // 2 ** int(lod + 1e-9) for lod in expected]


def test_the_storys_start_at_kimg_7000_is_late_in_the_last_fade():
    now = growth_at(7000, 512, STYLEGAN1)
    assert now.lod == pytest.approx(1 / 3) and (now.resolution, now.minibatch, now.lr) == (512, 4, 0.003)
    assert growth_at(7200, 512, STYLEGAN1).lod == 0


def test_progan_by_gpus():
    # From 4x4; 1024 pixels after 8 doublings; learning rates rise with the minibatch.
    assert growth_at(0, 1024, PROGAN).resolution == 4 and growth_at(0, 1024, PROGAN).tick_kimg == 160
    last = [growth_at(9600, 1024, progan.growth(gpus)) for gpus in (1, 2, 4, 8)]
    assert [(now.lod, now.minibatch, now.lr, now.tick_kimg) for now in last] == [
        (0, 4, 0.0015, 10),
        (0, 8, 0.002, 10),
        (0, 16, 0.003, 10),
        (0, 32, 0.003, 10),
    ]
    assert [growth_at(5700, 1024, progan.growth(gpus)).lr for gpus in (1, 2, 4, 8)] == [0.001] * 3 + [0.0015]
    assert growth_at(0, 1024, progan.growth(8)).minibatch == 512
    assert progan.growth(3) == progan.growth(2) and stylegan1.growth(16) == stylegan1.growth(8)


def test_other_sizes_and_lengths():
    # 192 pixels: three levels below it lies 24, the first of at least 16; it takes the settings of 32.
    now = growth_at(0, 192, dataclasses.replace(STYLEGAN1, initial=16))
    assert (now.lod, now.resolution, now.minibatch) == (3, 24, 64)
    assert growth_at(0, 4, STYLEGAN1).lod == 0
    assert growth_at(5, 64, dataclasses.replace(STYLEGAN1, training_kimg=10, transition_kimg=0)).resolution == 8
    assert growth_at(10, 64, dataclasses.replace(STYLEGAN1, training_kimg=10, transition_kimg=0)).resolution == 16
    assert growth_at(3, 64, dataclasses.replace(STYLEGAN1, training_kimg=0, transition_kimg=0)).resolution == 8
    assert growth_at(99999, 2048, STYLEGAN1).minibatch == 4


def test_optimizers_forget_where_a_layer_appears_and_where_it_is_whole():
    lods = [growth_at(kimg, 64, STYLEGAN1).lod for kimg in (0, 599, 600, 601, 900, 1199, 1200, 1300, 1801, 2400, 9000)]
    resets = [layers_changed(a, b) for a, b in itertools.pairwise(lods)]
    assert resets == [False, False, True, False, False, True, False, True, True, True]


def test_reals_against_the_original_arithmetic():
    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, 16, 16))

    def box(x, times):
        return x.reshape(2, 3, x.shape[2] // times, times, x.shape[3] // times, times).mean((3, 5))

    for lod in (0, 0.3, 1, 1.75, 2):
        level = box(images, 2 ** int(lod))
        coarse = box(level, 2).repeat(2, 2).repeat(2, 3)
        mixed = level + (coarse - level) * (lod - int(lod))
        expected = mixed.repeat(2 ** int(lod), 2).repeat(2 ** int(lod), 3)
        assert fade_reals(torch.from_numpy(images), lod).numpy() == pytest.approx(expected, abs=1e-12)
        assert fade_reals(torch.from_numpy(images), lod, False).numpy() == pytest.approx(mixed, abs=1e-12)
    assert torch.equal(fade_reals(torch.from_numpy(images), 0), torch.from_numpy(images))


@pytest.mark.parametrize("lod", [0, 0.4, 1, 1.6])
def test_the_discriminator_judges_both_sizes_alike(lod):
    torch.manual_seed(0)
    d = build_discriminator(
        {"family": "stylegan1", "resolution": 32, "channels": 3, "channel_base": 64, "channel_max": 8, "lod": lod}
    )
    images = torch.rand(4, 3, 32, 32)
    assert torch.allclose(d(fade_reals(images, lod)), d(fade_reals(images, lod, False)), atol=1e-5)


def test_each_kind_of_step_counts_by_its_share(tiny):
    kinds = kinds_of_step(changed(tiny, r1_interval=16, path_weight=2.0).recipe)
    assert {kind: share for kind, (_, share) in kinds.items()} == {
        (True, True): 1 / 16,
        (False, True): 3 / 16,
        (False, False): 12 / 16,
    }
    assert all(
        due_regularizers(changed(tiny, r1_interval=16, path_weight=2.0).recipe, step) == kind
        for kind, (step, _) in kinds.items()
    )
    every = kinds_of_step(changed(tiny, r1_interval=1, path_weight=0.0).recipe)
    assert {kind: share for kind, (_, share) in every.items()} == {(True, False): 1.0}


def test_the_schedule_is_the_published_one():
    with np.load(Path(__file__).parents[1] / "data" / "sched_512.npz") as reference:
        assert list(reference["columns"])[:3] == ["num_gpus", "kimg", "lod"]
        for gpus, kimg, *wanted in reference["table"]:
            now = growth_at(float(kimg), 512, stylegan1.growth(int(gpus)))
            found = (now.lod, now.resolution, now.minibatch, now.lr, now.lr, now.tick_kimg)
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_the_storys_settings():
    config = resolve("a.zip", "d", 512, 3, preset="story", init="faces.pkl")
    now = schedule_at(config, 7_000_000)
    assert (now.resolution, now.minibatch, now.lr, now.tick_kimg) == (512, 4, 0.0015, 30)
    assert config.recipe.mirror and config.recipe.gamma == 10 and config.networks.family == "stylegan1"
