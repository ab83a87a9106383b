import numpy as np
import pytest

from figment.score.neighbours import neighbours, radii, squared_distances


def test_equal_distributions_overlap_wholly():
    rng = np.random.default_rng(0)
    found = neighbours(rng.normal(0, 1, (600, 4)), rng.normal(0, 1, (600, 4)))
    assert found.precision > 0.85 and found.recall > 0.85 and found.coverage > 0.9 and 0.9 < found.density < 1.1


def test_a_collapse_keeps_precision_and_loses_recall():
    rng = np.random.default_rng(1)
    real = rng.normal(0, 1, (400, 3))
    found = neighbours(real, real[:4].repeat(100, 0) + rng.normal(0, 1e-3, (400, 3)))
    assert found.precision == 1 and found.recall < 0.1 and found.coverage < 0.2


def test_fakes_elsewhere_have_no_precision():
    rng = np.random.default_rng(2)
    assert neighbours(rng.normal(0, 1, (50, 3)), rng.normal(90, 1, (60, 3))) == (0, 0, 0, 0)


def test_blocks_change_nothing():
    rng = np.random.default_rng(3)
    real, fake = rng.normal(0, 1, (130, 5)), rng.normal(0.3, 1, (90, 5))
    assert neighbours(real, fake, block=17) == neighbours(real, fake)


def test_it_agrees_with_the_definitions_written_out():
    rng = np.random.default_rng(4)
    real, fake = rng.normal(0, 1, (40, 3)), rng.normal(0.5, 1.2, (30, 3))
    apart = np.linalg.norm(real[:, None] - fake[None], axis=2)
    ball = lambda x, k: np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), 1)[:, k]  # noqa: E731
    found = neighbours(real, fake)
    assert found.precision == (apart <= ball(real, 3)[:, None]).any(0).mean()
    assert found.recall == (apart <= ball(fake, 3)[None]).any(1).mean()
    assert found.density == pytest.approx((apart <= ball(real, 5)[:, None]).sum() / (5 * 30))
    assert found.coverage == (apart <= ball(real, 5)[:, None]).any(1).mean()


def test_radii_leave_out_the_row_itself():
    rows = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert radii(rows, (1, 2), block=3).tolist() == [[1, 9], [1, 4], [4, 9], [16, 36]]
    assert squared_distances(rows, rows[:1]).ravel().tolist() == [0, 1, 9, 49]


def test_too_few_are_refused():
    with pytest.raises(ValueError, match="each side needs 6"):
        neighbours(np.zeros((5, 2)), np.zeros((50, 2)))
