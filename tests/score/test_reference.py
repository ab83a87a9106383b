import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.score.reference import Gathering, Statistics, cache_path, measure_reference
from figment.score.sources import open_source
from tests.score.conftest import blobs
from tests.score.test_features import Means


def test_the_cache_gives_the_same_and_saves_the_work(pictures):
    source, net = open_source(pictures / "real.zip", "DATA"), Means()
    first = measure_reference(source, net)
    assert cache_path(source, net).is_file() and first.all.count == 24 and len(first.names) == 24
    looked = len(net.sizes)
    again = measure_reference(source, net)
    assert len(net.sizes) == looked
    assert again.names == first.names and again.close == first.close
    for a, b in zip((first.all, *first.halves), (again.all, *again.halves), strict=True):
        assert a.count == b.count and np.array_equal(a.cov, b.cov) and np.array_equal(a.sample, b.sample)


def test_other_pictures_or_a_damaged_cache_are_measured_anew(tmp_path):
    for i in range(6):
        write_png(tmp_path / "data" / f"{i}.png", blobs(i))
    net = Means()
    first = measure_reference(open_source(tmp_path / "data", "DATA"), net)
    write_png(tmp_path / "data" / "6.png", blobs(6))
    source = open_source(tmp_path / "data", "DATA")
    assert measure_reference(source, net).all.count == 7 == first.all.count + 1
    cache_path(source, net).write_bytes(b"damaged")
    assert measure_reference(source, net).all.count == 7


@pytest.mark.parametrize("batch", [1, 5, 32])
def test_batches_change_nothing(pictures, tmp_path, batch):
    source = open_source(pictures / "real.zip", "DATA")
    first = measure_reference(source, Means(), cache=tmp_path / "a")
    other = measure_reference(source, Means(), batch=batch, cache=tmp_path / str(batch))
    assert np.array_equal(first.all.cov, other.all.cov) and np.array_equal(first.all.sample, other.all.sample)
    assert np.array_equal(first.halves[1].mean, other.halves[1].mean)


def test_pictures_in_any_order_and_batch_give_the_same_score():
    from figment.score.backbones import Heads
    from figment.score.score import compare_statistics

    images, found = np.stack([blobs(i).transpose(2, 0, 1) for i in range(40)]), []
    for order, batch in ((np.arange(40), 32), (np.random.default_rng(0).permutation(40), 7)):
        gathering = Gathering(Heads(), sample=15)
        for start in range(0, 40, batch):
            gathering.add([images[i] for i in order[start : start + batch]])
        whole, (one, two) = gathering.result()
        found.append((compare_statistics(whole, one_like(whole)), one.mean.tolist(), two.mean.tolist()))
    assert found[0] == found[1]


def one_like(statistics):
    """A reference: the same with twice the spread."""
    return Statistics(statistics.count, statistics.mean + 0.1, statistics.cov * 4, statistics.sample * 2)


def test_halves_are_a_half_each_and_make_the_whole():
    rows = np.random.default_rng(0).normal(0, 50, (400, 3)).astype(np.float32)
    gathering = Gathering(Means(), sample=100)
    gathering.add_features(rows, [bytes([i % 251, i // 251]) for i in range(400)])
    whole, (one, two) = gathering.result()
    assert whole.count == one.count + two.count == 400 and 150 < one.count < 250
    assert whole.sample.shape == (100, 3)
    assert np.allclose(whole.cov, np.cov(rows.T.astype(float)), rtol=1e-7)


def test_one_picture_is_too_few(tmp_path):
    write_png(tmp_path / "data" / "0.png", blobs(0))
    with pytest.raises(FigmentError, match="1 readable pictures"):
        measure_reference(open_source(tmp_path / "data", "DATA"), Means())
