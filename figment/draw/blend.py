"""Blend models layer by layer, for example one model's shapes with another's colors; scale the layers' noise.

    figment sample faces.safetensors -o out --blend runs/00003-heroes --blend-layers 8-17
    figment morph  faces.safetensors -o m.mp4 --blend heroes.safetensors --blend-layers fine --blend-amount 0.5

The models must have the same family and size. Blending works best if one was fine-tuned from the other (Pinkney &
Adler 2020, arXiv 2010.05334, "Resolution dependent GAN interpolation"). The mapping stays the first model's.
"""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from figment.base.errors import FigmentError
from figment.draw.latents import parse_layers
from figment.draw.render import load_generator
from figment.nets.base import Generator

MOST_NOISE = 1000
"""Largest factor of noise."""


@dataclass(frozen=True)
class Blend:
    """A model whose layers replace those of another one."""

    model: Path
    layers: str = "fine"
    """A band of the family such as fine, or a range such as 8-17."""
    amount: float = 1.0
    """0 keeps the first model's weights, 1 takes this model's; values in between interpolate."""

    def settings(self) -> dict[str, object]:
        """Return the fields as they are written to .json files."""
        return asdict(self) | {"model": str(self.model)}


def load_blended(
    model: Path,  # gives the mapping and all layers that no blend replaces
    blends: tuple[Blend, ...] = (),  # applied in order, so that later ones win
) -> Generator:
    """Return the generator of `model` with layers of other models."""
    g, _ = load_generator(model)
    for blend in blends:
        other, _ = load_generator(blend.model, flag="--blend")
        blend_layers(g, other, blend.layers, blend.amount, name=str(blend.model))
    return g


@torch.no_grad()
def blend_layers(
    g: Generator,  # changed in place
    other: Generator,  # same family, weights of the same shapes
    layers: str = "fine",
    amount: float = 1.0,
    name: str = "model",  # name of `other` in messages
) -> None:
    """Interpolate the weights of some layers of `g` towards those of `other`.

    Raises FigmentError for models that don't match, unknown layers, or an amount outside 0 to 1.
    """
    if not 0 <= amount <= 1:
        raise FigmentError(f"--blend-amount {amount:g}: must be from 0 to 1")
    family, mine, theirs = g.family.name, g.state_dict(), other.state_dict()
    if family != other.family.name:
        raise FigmentError(
            f"--blend {name}: is a {other.family.name}, but the model is a {family}; both must have one family"
        )
    first, stop = parse_layers(layers, g, "--blend-layers", num_layers=g.num_weight_layers)
    wanted = [key for key in mine if (layer := g.layer_of(key)) is not None and first <= layer < stop]
    for key in wanted:
        if key not in theirs or mine[key].shape != theirs[key].shape:
            raise FigmentError(f"--blend {name}: its {key} has another shape; both models must have one size and width")
    for key in wanted:
        mine[key].copy_(torch.lerp(mine[key], theirs[key].to(mine[key]), amount))


@torch.no_grad()
def scale_noise(
    g: Generator,
    text: str,  # a factor, or layers with a factor each: "0.5", "fine:0", "0-3:0.2,8-11:2"
    flag: str = "--noise-strength",
) -> Generator:
    """Return a copy of `g` whose layers' noise is multiplied by factors; layers that `text` leaves out keep theirs.

    Raises FigmentError that names `flag` for a family without noise, unknown layers or anything but numbers.
    """
    strengths = list(g.noise_strengths())
    if not strengths:
        raise FigmentError(f"{flag} {text}: the family {g.family.name} has no noise")
    layers = g.num_weight_layers
    factors, seen = [1.0] * layers, set[str]()
    for part in text.split(","):
        band, _, factor = part.rpartition(":")
        if band in seen:
            raise FigmentError(f"{flag} {text!r}: has two factors for {f'layers {band}' if band else 'all layers'}")
        seen.add(band)
        first, stop = parse_layers(band, g, flag, num_layers=layers) if band else (0, layers)
        try:
            times = float(factor)
        except ValueError:
            times = math.nan
        if not abs(times) <= MOST_NOISE:
            raise FigmentError(
                f"{flag} {text!r}: must be a factor such as 0.5, or layers with a factor each such as 0-3:0,4:2, each "
                f"from -{MOST_NOISE} to {MOST_NOISE}"
            )
        factors[first:stop] = [times] * (stop - first)
    scaled = copy.deepcopy(g)
    for name in strengths:
        scaled.get_parameter(name).mul_(factors[g.layer_of(name) or 0])
    return scaled
