import numpy as np
import pytest

from figment.score.chart import decades, draw_curves, ticks


@pytest.mark.parametrize("low, high", [(0, 1), (0, 7.3), (0, 2500), (-0.2, 0.9), (0, 0.0004)])
def test_ticks_are_round_and_span_the_values(low, high):
    found = ticks(low, high)
    assert found[0] <= low and found[-1] >= high * (1 - 1e-9) and 4 <= len(found) <= 9


def test_decades_span_the_values():
    assert decades(0.3, 40) == [0.2, 0.5, 1, 2, 5, 10, 20, 50]
    assert decades(1, 100)[0] == 1 and decades(1, 100)[-1] == 100


def test_curves_are_drawn_where_their_values_are():
    falling = draw_curves({"run": ([0.0, 5.0, 10.0], [10.0, 5.0, 1.0])}, "FD-heads", "kimg")
    pixels = np.asarray(falling).astype(int)
    blue = np.abs(pixels - [0x1F, 0x6F, 0xB4]).sum(2) < 60
    rows, columns = np.nonzero(blue & (np.arange(pixels.shape[1]) < 800))
    assert falling.size == (900, 480) and np.corrcoef(rows, columns)[0, 1] > 0.95


@pytest.mark.parametrize(
    "curves",
    [
        {},
        {"one": ([3.0], [2.0])},
        {"wide": ([1.0, 2.0], [0.01, 50.0])},
        {"broken": ([1.0, 2.0], [float("nan"), 1.0])},
        {"flat": ([0.0], [0.0])},
    ],
)
def test_odd_curves_are_drawn_too(curves):
    assert draw_curves(curves, "title", "kimg").size == (900, 480)
