import numpy as np

from figment.score.statistics import Moments, Sample, key_of


def moments(rows, order, batch, scale=1.0):
    found = Moments(rows.shape[1], scale)
    for start in range(0, len(rows), batch):
        found.add(rows[order[start : start + batch]])
    return found


def test_they_agree_with_numpy():
    rows = np.random.default_rng(0).normal(0.5, 1, (400, 12)).astype(np.float32)
    found = moments(rows, np.arange(400), 33)
    assert found.count == 400
    assert np.allclose(found.mean, rows.astype(float).mean(0), rtol=0, atol=1e-9)
    assert np.allclose(found.cov, np.cov(rows.T.astype(float)), rtol=0, atol=1e-9)


def test_neither_order_nor_batches_change_a_bit():
    rng = np.random.default_rng(1)
    rows = (rng.normal(3, 2, (700, 9)) @ rng.normal(0, 1, (9, 9))).astype(np.float32)
    first = moments(rows, np.arange(700), 700)
    for batch in (1, 64, 257):
        other = moments(rows, rng.permutation(700), batch)
        assert np.array_equal(first.mean, other.mean) and np.array_equal(first.cov, other.cov)


def test_halves_merge_to_the_whole():
    rows = np.random.default_rng(2).normal(0, 1, (300, 5)).astype(np.float32)
    whole, one, two = (moments(part, np.arange(len(part)), 50) for part in (rows, rows[::2], rows[1::2]))
    one.merge(two)
    assert one.count == 300 and np.array_equal(one.cov, whole.cov)


def test_features_of_any_size_keep_their_accuracy():
    rows = np.random.default_rng(3).normal(0, 1, (500, 4))
    for size, scale in ((1e-6, 2.0**-20), (1e5, 2.0**17), (1e3, 1.0)):
        found = moments((rows * size).astype(np.float32), np.arange(500), 100, scale)
        assert np.allclose(found.cov / size**2, np.cov(rows.T), rtol=0, atol=1e-6)


def test_a_sample_depends_on_keys_alone():
    rows = np.arange(200, dtype=np.float32)[:, None]
    keys = [key_of(bytes([i])) for i in range(200)]
    orders = [np.arange(200), np.random.default_rng(0).permutation(200)]
    kept = []
    for order in orders:
        sample = Sample(20)
        for part in np.array_split(order, 7):
            sample.add(rows[part], [keys[i] for i in part])
        kept.append(sample.rows())
    assert kept[0].shape == (20, 1) and np.array_equal(*kept)
    assert 50 < kept[0].mean() < 150


def test_a_picture_that_comes_often_is_sampled_often():
    sample = Sample(100)
    for i in range(400):
        often = i % 2 == 0
        sample.add(np.array([[float(often)]]), [key_of(b"same" if often else str(i).encode())])
    assert 0.3 < sample.rows().mean() < 0.7
