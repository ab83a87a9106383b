"""Targets of the head detector, and its losses at answers whose loss is known."""

import pytest
import torch

from figment.base.records import Box
from figment.heads.loss import Target, detection_loss, make_targets, sides_loss
from figment.heads.network import Level

HEAD = Box(16, 8, 48, 40)  # 32 pixels: stride 8 alone answers for it


def test_a_head_peaks_in_its_centre_cell_at_its_stride() -> None:
    eight, sixteen, thirty_two = make_targets([[HEAD]], [[]], (64, 64))
    assert eight.heat.shape == (1, 8, 8)
    assert (eight.heat == 1).nonzero().tolist() == [[0, 3, 4]]  # centre (32, 24): column 4, row 3
    assert eight.boxes[0, :, 3, 4].tolist() == [16, 8, 48, 40]
    assert sixteen.heat.max() == thirty_two.heat.max() == 0


def test_a_middling_head_is_answered_at_two_strides() -> None:
    peaks = [float(target.heat.max()) for target in make_targets([[Box(0, 0, 50, 50)]], [[]], (128, 128))]
    assert peaks == [1, 1, 0]


def test_tiny_heads_and_ignored_areas_do_not_count() -> None:
    eight = make_targets([[Box(8, 8, 17, 17)]], [[Box(32, 32, 64, 64)]], (64, 64))[0]
    assert eight.heat.max() == 0
    assert eight.weight[0, 1, 1] == 0 and eight.weight[0, 5, 5] == 0
    assert eight.weight.sum() == 64 - 1 - 16


def exact_answer(target: Target, stride: int) -> torch.Tensor:
    """The distances that give the target's boxes exactly."""
    x = (torch.arange(target.heat.shape[2]) + 0.5) * stride
    y = (torch.arange(target.heat.shape[1])[:, None] + 0.5) * stride
    x0, y0, x1, y1 = target.boxes.unbind(1)
    return torch.stack([x - x0, y - y0, x1 - x, y1 - y], dim=1)


def test_exact_boxes_cost_nothing_and_half_boxes_cost_half() -> None:
    target = make_targets([[HEAD]], [[]], (64, 64))[0]
    exact = exact_answer(target, 8)
    loss, near = sides_loss(exact, target, 8)
    assert float(loss) == pytest.approx(0, abs=1e-5)
    assert near > 0
    half = exact.clone()
    half[:, 3] -= 16  # the lower half is missing: IoU 1/2, and the hull is the head itself
    loss, near = sides_loss(half, target, 8)
    assert float(loss / near) == pytest.approx(0.5)


def test_sure_right_answers_cost_less_than_sure_wrong_ones() -> None:
    targets = make_targets([[HEAD]], [[]], (64, 64))

    def loss(sign: float) -> float:
        levels = [
            Level(stride, sign * (target.heat * 20 - 10), exact_answer(target, stride).clamp(min=1))
            for stride, target in zip((8, 16, 32), targets, strict=True)
        ]
        return float(detection_loss(levels, targets)[0])

    assert loss(1) < 0.5 < 10 < loss(-1)
