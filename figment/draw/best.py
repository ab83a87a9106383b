"""Which of many characters to show first: by the discriminator that was trained beside the generator, or by w."""

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
    ws: Tensor,  # their latents [N, L, D]
    images: np.ndarray,  # their pictures, uint8 [N, C, H, W]
) -> list[int]:
    """Indices of the characters, the likeliest to please first.

    A discriminator's score says how real it finds a picture (Azadi et al. 2018 reject samples by it). A model without
    one is ranked by how near w lies to the mean, where pictures are safest (Karras et al. 2018, appendix B).
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
    """The discriminator's logits, [N]; one picture at a time, so that none depends on its company."""
    pictures = to_unit(torch.from_numpy(images))
    return np.array([float(d(picture[None])[0, 0]) for picture in pictures])
