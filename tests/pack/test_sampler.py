import numpy as np

from figment.pack.sampler import EndlessSampler


def test_each_epoch_shows_every_picture_once_in_a_fresh_order():
    indices, flips = EndlessSampler(10, seed=0, mirror=True).take(0, 30)
    epochs = indices.reshape(3, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert 0 < flips.sum() < 30


def test_any_position_is_reached_without_state():
    whole, flips = EndlessSampler(7, seed=3, mirror=True).take(0, 50)
    part, part_flips = EndlessSampler(7, seed=3, mirror=True).take(23, 20)
    assert np.array_equal(part, whole[23:43]) and np.array_equal(part_flips, flips[23:43])


def test_no_flips_without_mirror_and_another_seed_is_another_stream():
    indices, flips = EndlessSampler(50, seed=0).take(0, 50)
    assert not flips.any()
    assert not np.array_equal(indices, EndlessSampler(50, seed=1).take(0, 50)[0])
