"""Adaptive augmentation of the images that the discriminator sees (Karras et al. 2020, arXiv 2006.06676)."""

from figment.train.augment.controller import AdaController, AdaState
from figment.train.augment.pipeline import DRAWS_VERSION, Augment, Draws, Strengths

__all__ = ["DRAWS_VERSION", "AdaController", "AdaState", "Augment", "Draws", "Strengths"]
