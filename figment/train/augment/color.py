"""Color augmentations as one 4x4 matrix per image (Karras et al. 2020, arXiv 2006.06676, appendix B)."""

from __future__ import annotations

import torch
from torch import Tensor

LUMA_AXIS = 3**-0.5
"""Each component of the luma axis: (1, 1, 1) scaled to length 1, the direction of the grays."""


def color_matrix(
    brightness: Tensor,  # [N]: added to all channels; 0 for no change
    contrast: Tensor,  # [N]: factor of all channels; 1 for no change
    luma: Tensor,  # [N]: 1 inverts the luma and keeps the hue; 0 for no change
    hue: Tensor,  # [N]: rotation about the luma axis in radians; 0 for no change
    saturation: Tensor,  # [N]: factor of the distance from the luma axis; 1 for no change
) -> Tensor:
    """Return the five changes, in this order, as one homogeneous matrix [N, 4, 4]: the exact identity for no change."""
    one = torch.eye(3, dtype=contrast.dtype, device=contrast.device)
    gray = torch.full_like(one, LUMA_AXIS**2)  # v v^T for the luma axis v
    cross = torch.stack([one[2] - one[1], one[0] - one[2], one[1] - one[0]]) * LUMA_AXIS  # cross product with v

    def per_image(amount: Tensor) -> Tensor:
        return amount[:, None, None]  # [N] -> [N, 1, 1]

    flip = one - 2 * per_image(luma) * gray
    turn = per_image(hue.cos()) * one + per_image(1 - hue.cos()) * gray + per_image(hue.sin()) * cross  # Rodrigues
    saturate = per_image(saturation) * one + per_image(1 - saturation) * gray
    linear = saturate @ turn @ flip  # [N, 3, 3]
    added = (linear.sum(2) * (contrast * brightness)[:, None])[:, :, None]  # [N, 3, 1]

    last = torch.cat([one.new_zeros(3), one.new_ones(1)]).expand(len(contrast), 1, 4)
    return torch.cat([torch.cat([linear * per_image(contrast), added], 2), last], 1)


def recolor(
    images: Tensor,  # [N, 1, 3 or 4, H, W]; a fourth channel is alpha and is left unchanged
    matrix: Tensor,  # [N, 4, 4]
) -> Tensor:
    """Return images with every color multiplied by the image's matrix; gray images as the mean of RGB."""
    matrix = matrix.to(images.dtype)
    if images.shape[1] == 1:
        factor, added = matrix[:, :3, :3].sum(2).mean(1), matrix[:, :3, 3].mean(1)  # [N]
        return images * factor[:, None, None, None] + added[:, None, None, None]
    flat = images[:, :3].flatten(2)  # [N, 3, H, W] -> [N, 3, H * W]
    colors = torch.baddbmm(matrix[:, :3, 3:], matrix[:, :3, :3], flat).view_as(images[:, :3])
    changed = (matrix != torch.eye(4, dtype=matrix.dtype, device=matrix.device)).flatten(1).any(1)
    colors = torch.where(changed[:, None, None, None], colors, images[:, :3])
    return torch.cat([colors, images[:, 3:]], 1)
