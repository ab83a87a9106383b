"""Training the judge of parts on a handful of drawings."""

import numpy as np
import pytest
import torch
import train_parts
from drawings import Drawings, draw_all
from train_parts import Maker, choose_thresholds, report, train, vary

from figment.score.parts import PartsJudge, save_parts


@pytest.fixture(scope="module")
def drawings(tmp_path_factory) -> Drawings:
    return draw_all(tmp_path_factory.mktemp("drawings"), heads=60, held_out=12, others=24, processes=1)


def test_drawings_are_kept(drawings, tmp_path):
    first = draw_all(tmp_path, heads=2, held_out=1, others=1, processes=1)
    again = draw_all(tmp_path, heads=2, held_out=1, others=1, processes=1)
    assert all(np.array_equal(one, two) for one, two in zip(first[:-1], again[:-1], strict=True))
    assert np.array_equal(first.heads, drawings.heads[:2])


def test_a_batch_says_what_is_known(drawings):
    batch = Maker(drawings, 0).batch()
    whole, faulty = train_parts.WHOLE, train_parts.FAULTY
    assert batch.images.shape[1:] == (3, 64, 64) and batch.images.min() >= 0 and batch.images.max() <= 255
    assert (batch.well[:whole] == 1).all() and (batch.kinds[:whole] >= 0).all()
    assert (batch.well[whole : whole + faulty] == 0).any() and (batch.well[whole + faulty :] == -1).all()
    assert (batch.kinds[whole:][batch.well[whole:, 0] == 0, 0] == -1).all()  # a broken part is of no kind
    assert (batch.other_kinds[: whole + faulty] == -1).all() and (batch.other_kinds[whole + faulty :] >= 0).any()


def test_varied_heads_are_still_the_same_heads():
    x = torch.ones(4, 3, 64, 64)
    x[:, :, 20:44, 20:44] = -1
    varied, colors = vary(x, torch.Generator().manual_seed(0))
    assert varied.shape == x.shape and colors.dtype == torch.bool and float(varied.abs().max()) <= 1
    assert (varied[:, :, 28:36, 28:36].mean((1, 2, 3)) < -0.5).all() and (varied[:, :, :6].mean((1, 2, 3)) > 0.5).all()


def test_a_short_training_is_saved_and_reported(drawings, tmp_path, capsys):
    net = train(drawings, sec=1.0, seed=0, workers=0).net
    thresholds = choose_thresholds(net, drawings)
    found = report(net, drawings, thresholds, seed=1)
    assert found["held-out heads"] == 12 and set(found["faults"]) == set(train_parts.FAULTS)
    save_parts(net, tmp_path / "parts.safetensors", thresholds)
    judged = PartsJudge(tmp_path / "parts.safetensors")(list(drawings.held_out[:, 0]))
    assert float(judged.well_formed.mean()) == pytest.approx(found["well formed"], abs=0.2)
    assert "accuracy" in capsys.readouterr().out
