"""Which layer each weight of a generator belongs to: what blends of models and the strength of noise go by."""

from __future__ import annotations

import copy
import re
from typing import Any

import torch

from figment.base.errors import FigmentError
from figment.draw.latents import parse_layers

NOISE = re.compile(r"(noise_strength|noise_weight|noise[12]\.weight)$")
"""Weights that say how strong a layer's noise is, in any family."""


def layer_of(
    family: str,
    name: str,  # of a weight or buffer
) -> int | None:
    """The layer of w that a weight answers to (its level in ProGAN, which has one w); None for the mapping."""
    if name.startswith("mapper.") or name in ("w_avg", "noise"):
        return None
    match = re.match(r"blocks\.(\d+)\.(\w+?)(\d?)\.", name + ".")
    if not match:
        return 0
    level, part, number = int(match[1]), match[2], match[3]
    if family == "stylegan2":
        return 2 * level + {"conv0": -1, "conv1": 0, "rgb": 1}[part + number]
    if family == "stylegan1":
        return 2 * level + (0 if part + number == "layer0" else 1)
    return level


def count_layers(g: Any) -> int:
    """How many layers `layer_of` tells apart."""
    return max(layer_of(g.config["family"], name) or 0 for name in g.state_dict()) + 1


@torch.no_grad()
def scale_noise(
    g: Any,
    text: str,  # a factor, or layers with theirs: "0.5", "fine:0", "0-3:0.2,8-11:2"
    flag: str = "--noise-strength",
) -> Any:
    """A copy of `g` whose layers' noise is scaled; raises FigmentError that names `flag`."""
    names = [name for name, _ in g.named_parameters() if NOISE.search(name)]
    if not names:
        raise FigmentError(f"{flag} {text}: the family {g.config['family']} has no noise")
    layers = count_layers(g)
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
        scaled.get_parameter(name).mul_(factors[layer_of(g.config["family"], name) or 0])
    return scaled
