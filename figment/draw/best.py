"""Rank characters by how good they look: by the discriminator's score, or by w."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from figment.base.pixels import to_unit
from figment.models import load
from figment.nets.base import Discriminator


def rank(
    model: Path,  # the model file or run that drew them
    ws: Tensor,  # latents [N, L, D]
    images: np.ndarray,  # their images, uint8 [N, C, H, W]
) -> list[int]:
    """Return the indices of the characters, best first.

    The discriminator's logit says how real an image looks (Azadi et al. 2018, arXiv 1810.06758, reject samples by it).
    Without a discriminator, characters are ranked by the distance of w from its mean: near it, images have fewer
    artifacts (Karras et al. 2018, arXiv 1812.04948, appendix B).
    """
    loaded = load(model)
    if loaded.d is not None:
        scores = _scores(loaded.d.eval(), images)
    else:
        mean = loaded.generator.w_avg.detach().cpu()  # [D]
        scores = -(ws - mean).square().mean((1, 2)).numpy()
    return [int(index) for index in np.argsort(-scores, kind="stable")]


@torch.inference_mode()
def _scores(d: Discriminator, images: np.ndarray) -> np.ndarray:
    """Return the logits, [N]; one image at a time, so that the minibatch stddev doesn't mix them."""
    pictures = to_unit(torch.from_numpy(images))
    return np.array([float(d(picture[None])[0, 0]) for picture in pictures])
