"""Detector targets and losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from figment.base.records import Box
from figment.heads.network import STRIDES, Level

SIZES = ((0.0, 56.0), (40.0, 128.0), (96.0, float("inf")))
"""Range of the longer side of heads, in pixels of the input, for each stride; the ranges overlap."""
SMALLEST = 12.0
"""Heads with a longer side below this are ignored."""


@dataclass(frozen=True)
class Target:
    """Training target of one stride."""

    heat: torch.Tensor
    """Heat map [N, h, w]: 1 at the center of a head, less around it, 0 elsewhere."""
    weight: torch.Tensor
    """Weight of each cell in the heat loss, [N, h, w]: 0 to ignore it."""
    boxes: torch.Tensor
    """Box (x0, y0, x1, y1) of each cell in pixels, [N, 4, h, w]."""


def make_targets(
    heads: Sequence[Sequence[Box]],  # heads of each image, in pixels of the input
    ignored: Sequence[Sequence[Box]],  # areas of each image to ignore
    size: tuple[int, int],  # width and height of the input
) -> list[Target]:
    """Return a target for each stride: a Gaussian around the center of each head.

    CenterNet (Zhou et al. 2019, arXiv 1904.07850, section 3).
    """
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
    """Return the penalty-reduced focal loss (CenterNet, equation 1, alpha 2, beta 4), summed over all cells."""
    chance = heat.sigmoid()
    at_center = target.heat > 0.99
    found = -torch.nn.functional.logsigmoid(heat) * (1 - chance) ** 2
    alarm = -torch.nn.functional.logsigmoid(-heat) * chance**2 * (1 - target.heat) ** 4
    return (torch.where(at_center, found, alarm) * target.weight).sum()


def sides_loss(
    sides: torch.Tensor,  # [N, 4, h, w]
    target: Target,
    stride: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the generalized IoU loss, summed over cells near centers, and the sum of their weights.

    Rezatofighi et al. (2019, arXiv 1902.09630).
    """
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
    """Return the heat loss per head and the box loss per cell, over all strides."""
    heat = torch.stack([heat_loss(level.heat, target) for level, target in zip(levels, targets, strict=True)]).sum()
    centers = sum((target.heat > 0.99).sum() for target in targets)
    parts = [sides_loss(level.sides, target, level.stride) for level, target in zip(levels, targets, strict=True)]
    sides = torch.stack([loss for loss, _ in parts]).sum()
    cells = torch.stack([near for _, near in parts]).sum()
    return heat / torch.as_tensor(centers).clamp(min=1), sides / cells.clamp(min=1)
