"""What the detector should answer for known boxes, and how far its answer is from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from figment.base.records import Box
from figment.heads.network import STRIDES, Level

SIZES = ((0.0, 56.0), (40.0, 128.0), (96.0, float("inf")))
"""Which longer sides, in pixels of the input, each stride answers for; where two overlap both answer."""
SMALLEST = 12.0
"""Heads with a longer side below this are neither heads nor background."""


@dataclass(frozen=True)
class Target:
    """What one stride should answer."""

    heat: torch.Tensor
    """[N, h, w]: 1 at a head's centre, falling off around it, 0 elsewhere."""
    weight: torch.Tensor
    """[N, h, w]: 0 where the answer does not count."""
    boxes: torch.Tensor
    """[N, 4, h, w]: the box (x0, y0, x1, y1) that the cell answers for, in pixels."""


def make_targets(
    heads: Sequence[Sequence[Box]],  # the heads of each picture, in pixels of the input
    ignored: Sequence[Sequence[Box]],  # areas of each picture that do not count
    size: tuple[int, int],  # the input's width and height
) -> list[Target]:
    """One Target for each stride: bumps around each head's centre, as in CenterNet (Zhou 2019, section 3)."""
    targets = []
    for stride, (low, high) in zip(STRIDES, SIZES, strict=True):
        across, down = size[0] // stride, size[1] // stride
        heat = np.zeros((len(heads), down, across), np.float32)
        weight = np.ones_like(heat)
        boxes = np.zeros((len(heads), 4, down, across), np.float32)
        x = (np.arange(across) + 0.5) * stride
        y = (np.arange(down)[:, None] + 0.5) * stride

        for n, (found, areas) in enumerate(zip(heads, ignored, strict=True)):
            for box in areas:
                weight[n][(x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)] = 0
            for box in found:
                longer = max(box.width, box.height)
                if longer < SMALLEST:
                    weight[n][(x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)] = 0
                if longer < SMALLEST or not low <= longer < high:
                    continue
                middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
                wide, tall = max(box.width / 8, stride / 3), max(box.height / 8, stride / 3)
                bump = np.exp(-(((x - middle[0]) / wide) ** 2 + ((y - middle[1]) / tall) ** 2) / 2)  # [h, w]
                bump[min(int(middle[1] / stride), down - 1), min(int(middle[0] / stride), across - 1)] = 1
                stronger = bump > heat[n]
                heat[n][stronger] = bump[stronger]
                boxes[n][:, stronger] = np.array(box, np.float32)[:, None]
        weight[heat > 0.99] = 1
        targets.append(Target(torch.from_numpy(heat), torch.from_numpy(weight), torch.from_numpy(boxes)))
    return targets


def heat_loss(
    heat: torch.Tensor,  # [N, h, w] logits
    target: Target,
) -> torch.Tensor:
    """The penalty-reduced focal loss of CenterNet's equation 1 (alpha 2, beta 4), summed over all cells."""
    chance = heat.sigmoid()
    at_centre = target.heat > 0.99
    found = -torch.nn.functional.logsigmoid(heat) * (1 - chance) ** 2
    alarm = -torch.nn.functional.logsigmoid(-heat) * chance**2 * (1 - target.heat) ** 4
    return (torch.where(at_centre, found, alarm) * target.weight).sum()


def sides_loss(
    sides: torch.Tensor,  # [N, 4, h, w]
    target: Target,
    stride: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised IoU loss (Rezatofighi 2019) summed over cells near centres, and the sum of their weights."""
    cells = (target.heat > 0.5).nonzero(as_tuple=True)
    near = target.heat[cells]  # [K]
    x = (cells[2] + 0.5) * stride
    y = (cells[1] + 0.5) * stride
    left, top, right, bottom = sides.permute(0, 2, 3, 1)[cells].unbind(1)  # each [K]
    x0, y0, x1, y1 = target.boxes.permute(0, 2, 3, 1)[cells].unbind(1)  # each [K]

    # Intersection, union and the smallest rectangle around both.
    across = (torch.minimum(x + right, x1) - torch.maximum(x - left, x0)).clamp(min=0)
    down = (torch.minimum(y + bottom, y1) - torch.maximum(y - top, y0)).clamp(min=0)
    both = across * down
    union = (left + right) * (top + bottom) + (x1 - x0) * (y1 - y0) - both
    hull = (torch.maximum(x + right, x1) - torch.minimum(x - left, x0)) * (
        torch.maximum(y + bottom, y1) - torch.minimum(y - top, y0)
    )
    giou = both / union - (hull - union) / hull
    return ((1 - giou) * near).sum(), near.sum()


def detection_loss(
    levels: Sequence[Level],
    targets: Sequence[Target],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The heat and the sides part over all strides, each a mean over its heads or cells; their sum is to be lowered."""
    heat = torch.stack([heat_loss(level.heat, target) for level, target in zip(levels, targets, strict=True)]).sum()
    centres = sum((target.heat > 0.99).sum() for target in targets)
    parts = [sides_loss(level.sides, target, level.stride) for level, target in zip(levels, targets, strict=True)]
    sides = torch.stack([loss for loss, _ in parts]).sum()
    cells = torch.stack([near for _, near in parts]).sum()
    return heat / torch.as_tensor(centres).clamp(min=1), sides / cells.clamp(min=1)
