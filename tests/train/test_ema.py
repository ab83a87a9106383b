import pytest
import torch
from torch import nn

from figment.train.ema import ema_beta, update_ema


def test_the_half_life_halves():
    assert ema_beta(10**9, 16, 10) ** (10_000 / 16) == pytest.approx(0.5)
    assert ema_beta(1000, 16, 10) == pytest.approx(0.5 ** (16 / 50))


def test_parameters_move_and_buffers_are_copied():
    average, source = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        source.weight.fill_(3.0)
        source.running_mean.fill_(7.0)
    update_ema(average, source, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.running_mean.tolist() == [7.0, 7.0]
