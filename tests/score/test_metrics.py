import numpy as np
import pytest
import scipy.linalg

from figment.score.metrics import frechet_distance, kernel_distance, neighbours, radii, squared_distances

# ---------------------------------------------------------------------- Frechet distance


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


# ---------------------------------------------------------------------- kernel distance


def plain(x, y):
    """The unbiased estimate written out."""
    k = lambda a, b: (a @ b.T / x.shape[1] + 1) ** 3  # noqa: E731
    m, n = len(x), len(y)
    xx, yy = k(x, x), k(y, y)
    return (xx.sum() - np.trace(xx)) / (m * (m - 1)) + (yy.sum() - np.trace(yy)) / (n * (n - 1)) - 2 * k(x, y).mean()


@pytest.mark.parametrize("block", [7, 1000])
def test_it_agrees_with_the_formula_written_out(block):
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (90, 16)), rng.normal(0.2, 1, (70, 16))
    assert kernel_distance(x, y, block).value == pytest.approx(plain(x, y), rel=1e-10)


def test_it_is_unbiased_and_its_error_is_honest():
    rng = np.random.default_rng(1)
    found = [kernel_distance(rng.normal(0, 1, (20, 4)), rng.normal(0, 1, (25, 4))) for _ in range(1500)]
    values = np.array([one.value for one in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert values.std() < np.sqrt(np.mean([one.error**2 for one in found])) < 2 * values.std()


def test_its_error_is_right_where_distributions_differ():
    rng = np.random.default_rng(2)
    found = [kernel_distance(rng.normal(0, 1, (60, 3)), rng.normal(0.8, 1, (60, 3))) for _ in range(400)]
    spread = np.std([one.value for one in found])
    assert 0.8 < np.sqrt(np.mean([one.error**2 for one in found])) / spread < 1.3


def test_the_jackknife_is_what_leaving_out_each_row_gives():
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, (9, 3)), rng.normal(0, 1, (7, 3))
    left_x = np.array([plain(np.delete(x, i, 0), y) for i in range(9)])
    left_y = np.array([plain(x, np.delete(y, i, 0)) for i in range(7)])
    assert kernel_distance(x, y).error == pytest.approx(np.sqrt(8 * left_x.var() + 6 * left_y.var()), rel=1e-9)


def test_two_rows_are_too_few():
    with pytest.raises(ValueError, match="three rows"):
        kernel_distance(np.zeros((2, 3)), np.zeros((9, 3)))


# ---------------------------------------------------------------------- nearest neighbors


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
