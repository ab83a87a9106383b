"""Two or more models as one, layer by layer: one's shapes in another's colours.

    figment sample faces.safetensors -o out --blend runs/00003-heroes --blend-layers 8-17
    figment morph  faces.safetensors -o m.mp4 --blend heroes.safetensors --blend-layers fine --blend-amount 0.5

The models must be of one family and size; they look alike where one was fine-tuned from the other (Pinkney & Adler
2020, "Resolution dependent GAN interpolation"). The mapping stays the first model's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from figment.base.errors import FigmentError
from figment.draw.latents import parse_layers
from figment.draw.render import load_generator


@dataclass(frozen=True)
class Blend:
    """A model whose layers take the place of another's."""

    model: Path
    layers: str = "fine"
    """coarse, middle, fine, or a range such as 8-17."""
    amount: float = 1.0
    """0 leaves the first model's weights, 1 takes this one's; between them weights are interpolated."""


def load_blended(
    model: Path,  # gives the mapping and all layers that no blend takes
    blends: tuple[Blend, ...] = (),  # later ones over earlier ones
) -> Any:
    """The generator of `model` with layers of others."""
    g, _ = load_generator(model)
    for blend in blends:
        other, _ = load_generator(blend.model)
        blend_layers(g, other, blend.layers, blend.amount, name=str(blend.model))
    return g


@torch.no_grad()
def blend_layers(
    g: Any,  # changed in place
    other: Any,  # of the same family, with weights of the same shapes
    layers: str = "fine",
    amount: float = 1.0,
    name: str = "model",  # what messages call `other`
) -> None:
    """Draw the weights of some layers of `g` towards those of `other`."""
    if not 0 <= amount <= 1:
        raise FigmentError(f"--blend-amount {amount:g}: must lie between 0 and 1")
    family, mine, theirs = g.family.name, g.state_dict(), other.state_dict()
    if family != other.family.name:
        raise FigmentError(f"--blend {name}: is a {other.family.name}, the model a {family}; they must be alike")
    first, stop = parse_layers(layers, g.num_weight_layers, "--blend-layers")
    wanted = [key for key in mine if (layer := g.layer_of(key)) is not None and first <= layer < stop]
    for key in wanted:
        if key not in theirs or mine[key].shape != theirs[key].shape:
            raise FigmentError(f"--blend {name}: its {key} has another shape; both models must have one size and width")
    for key in wanted:
        mine[key].copy_(torch.lerp(mine[key], theirs[key].to(mine[key]), amount))
