"""Changing colours: one 4x4 matrix per picture (Karras et al. 2020, arXiv 2006.06676, appendix B)."""

from __future__ import annotations

import torch
from torch import Tensor

AXIS = 3**-0.5
"""Each component of the luma axis, (1, 1, 1) at unit length: the greys."""


def colour_matrix(
    brightness: Tensor,  # [N]: added to all colours; 0 for none
    contrast: Tensor,  # [N]: factor of all colours; 1 for none
    luma: Tensor,  # [N]: 1 turns light into dark, hue kept; 0 for none
    hue: Tensor,  # [N]: turn about the greys in radians; 0 for none
    saturation: Tensor,  # [N]: factor of the distance from the greys; 1 for none
) -> Tensor:
    """All five changes in this order as one homogeneous matrix, [N, 4, 4]; exactly the identity where none happens."""
    one = torch.eye(3, dtype=contrast.dtype, device=contrast.device)
    grey = torch.full_like(one, AXIS**2)  # v v^T
    cross = torch.stack([one[2] - one[1], one[0] - one[2], one[1] - one[0]]) * AXIS  # v x (a colour)

    def per(amount: Tensor) -> Tensor:
        return amount[:, None, None]  # [N] -> [N, 1, 1]

    flip = one - 2 * per(luma) * grey
    turn = per(hue.cos()) * one + per(1 - hue.cos()) * grey + per(hue.sin()) * cross  # Rodrigues
    saturate = per(saturation) * one + per(1 - saturation) * grey
    linear = saturate @ turn @ flip  # [N, 3, 3]
    added = (linear.sum(2) * (contrast * brightness)[:, None])[:, :, None]  # [N, 3, 1]

    last = torch.cat([one.new_zeros(3), one.new_ones(1)]).expand(len(contrast), 1, 4)
    return torch.cat([torch.cat([linear * per(contrast), added], 2), last], 1)


def recolour(
    images: Tensor,  # [N, 1, 3 or 4, H, W]; a fourth channel is alpha and stays
    matrix: Tensor,  # [N, 4, 4]
) -> Tensor:
    """Pictures with every colour multiplied by their matrix; grey ones as if they were RGB, and then averaged."""
    matrix = matrix.to(images.dtype)
    if images.shape[1] == 1:
        factor, added = matrix[:, :3, :3].sum(2).mean(1), matrix[:, :3, 3].mean(1)  # [N]
        return images * factor[:, None, None, None] + added[:, None, None, None]
    flat = images[:, :3].flatten(2)  # [N, 3, H, W] -> [N, 3, H * W]
    colours = torch.baddbmm(matrix[:, :3, 3:], matrix[:, :3, :3], flat).view_as(images[:, :3])
    changed = (matrix != torch.eye(4, dtype=matrix.dtype, device=matrix.device)).flatten(1).any(1)
    colours = torch.where(changed[:, None, None, None], colours, images[:, :3])
    return torch.cat([colours, images[:, 3:]], 1)
