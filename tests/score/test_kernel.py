import numpy as np
import pytest

from figment.score.kernel import kernel_distance


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
