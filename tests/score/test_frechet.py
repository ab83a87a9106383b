import numpy as np
import pytest
import scipy.linalg

from figment.score.frechet import frechet_distance


def gaussian(rng, dim, count, size):
    rows = rng.normal(0, 1, (count, dim)) @ rng.normal(0, 1, (dim, dim)) * size + rng.normal(0, 1, dim)
    return rows.mean(0), np.cov(rows.T)


@pytest.mark.parametrize("dim", [2, 64, 200])
def test_it_agrees_with_scipys_square_root(dim):
    rng = np.random.default_rng(dim)
    (m1, c1), (m2, c2) = gaussian(rng, dim, 5 * dim, 0.3), gaussian(rng, dim, 5 * dim, 0.31)
    root = scipy.linalg.sqrtm(c1 @ c2)
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * root.real)
    assert frechet_distance(m1, c1, m2, c2) == pytest.approx(expected, rel=1e-9)


def test_in_one_dimension_it_is_the_difference_of_means_and_deviations():
    one = frechet_distance(np.array([1.0]), np.array([[4.0]]), np.array([4.0]), np.array([[9.0]]))
    assert one == pytest.approx(3**2 + (2 - 3) ** 2)


def test_fewer_pictures_than_dimensions_are_no_trouble():
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (20, 100))
    mean, cov = rows.mean(0), np.cov(rows.T)
    assert frechet_distance(mean, cov, mean, cov) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(mean, cov, mean + 1, 4 * cov) == pytest.approx(100 + np.trace(cov), rel=1e-9)


def test_it_is_symmetric_and_zero_for_nothing():
    rng = np.random.default_rng(5)
    (m1, c1), (m2, c2) = gaussian(rng, 10, 50, 1), gaussian(rng, 10, 50, 2)
    assert frechet_distance(m1, c1, m2, c2) == pytest.approx(frechet_distance(m2, c2, m1, c1), rel=1e-12)
    assert frechet_distance(m1, 0 * c1, m1, 0 * c1) == 0
