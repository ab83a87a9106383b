"""The strength of the layers' noise."""

from __future__ import annotations

import copy
from typing import Any

import torch

from figment.base.errors import FigmentError
from figment.draw.latents import parse_layers


@torch.no_grad()
def scale_noise(
    g: Any,
    text: str,  # a factor, or layers with theirs: "0.5", "fine:0", "0-3:0.2,8-11:2"
    flag: str = "--noise-strength",
) -> Any:
    """A copy of `g` whose layers' noise is scaled; raises FigmentError that names `flag`."""
    names = list(g.noise_strengths())
    if not names:
        raise FigmentError(f"{flag} {text}: the family {g.family.name} has no noise")
    layers = g.num_weight_layers
    factors = [1.0] * layers
    for part in text.split(","):
        band, _, factor = part.rpartition(":")
        first, stop = (
            parse_layers(band if "-" in band or not band.isdigit() else f"{band}-{band}", layers, flag)
            if band
            else (0, layers)
        )
        try:
            factors[first:stop] = [float(factor)] * (stop - first)
        except ValueError:
            raise FigmentError(
                f"{flag} {text!r}: must be a factor such as 0.5, or layers and theirs such as 0-3:0,fine:2"
            ) from None
    scaled = copy.deepcopy(g)
    for name in names:
        scaled.get_parameter(name).mul_(factors[g.layer_of(name) or 0])
    return scaled
