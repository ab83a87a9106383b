"""Latents: w of seeds and z, closed splines, style mixing, layers by name."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.parse import seed_to_z
from figment.draw.render import one_thread
from figment.nets.base import Generator


@torch.inference_mode()
def seeds_to_w(
    g: Generator,
    seeds: list[int],
    psi: float = 0.7,  # truncation: 0 gives the mean, 1 the full variety
    cutoff: int | None = None,  # truncate only layers below this one; None truncates all
) -> Tensor:
    """Return the w of seeds, [N, L, D] on the CPU; a seed gives the same bits whatever the others are."""
    z = torch.from_numpy(np.stack([seed_to_z(seed, g.z_dim) for seed in seeds])).float()  # [N, z_dim]
    return z_to_w(g, z, psi, cutoff)


@torch.inference_mode()
def z_to_w(
    g: Generator,
    z: Tensor,  # [N, z_dim]
    psi: float = 0.7,  # truncation: 0 gives the mean, 1 the full variety
    cutoff: int | None = None,  # truncate only layers below this one; None truncates all
) -> Tensor:
    """Return the w of z, [N, L, D] on the CPU; mapped one by one on one thread, so that the bits never change."""
    with one_thread():
        return torch.cat(
            [
                g.mapping(one[None].to(g.device, copy=True), truncation_psi=psi, truncation_cutoff=cutoff).cpu()
                for one in z
            ]
        )


def closed_spline(
    keys: Tensor,  # [K, L, D], K >= 2
    at: np.ndarray,  # positions in turns; 0 and 1 are the first key
) -> Tensor:
    """Return points on the closed Catmull-Rom spline through `keys`, [len(at), L, D] (Catmull & Rom 1974)."""
    count = len(keys)
    place = torch.from_numpy(np.asarray(at) * count).float() % count
    index = place.long() % count
    t = (place - index)[:, None, None]
    before, start, end, after = (keys[(index + step) % count] for step in (-1, 0, 1, 2))
    return start + 0.5 * t * (
        end - before + t * (2 * before - 5 * start + 4 * end - after + t * (3 * (start - end) + after - before))
    )


def mix_styles(
    base: Tensor,  # [L, D]
    style: Tensor,  # [L, D]
    layers: tuple[int, int],  # layers taken from `style`: the first, and the one after the last
) -> Tensor:
    """Return `base` with some layers of `style`, [L, D] (style mixing, Karras et al. 2018, arXiv 1812.04948, 3.1)."""
    mixed = base.clone()
    mixed[layers[0] : layers[1]] = style[layers[0] : layers[1]]
    return mixed


def parse_layers(
    text: str,  # a band of the generator's family such as "coarse", a layer such as "4", or a range such as "4-9"
    g: Generator,
    flag: str = "--layers",
    *,
    num_layers: int | None = None,  # how many layers there are; None means `g.num_layers`
) -> tuple[int, int]:
    """Return the layers that `text` names: the first, and the one after the last.

    Raises FigmentError that names `flag` and lists the family's bands for anything else, and for layers that `g`
    doesn't have.
    """
    num_layers = g.num_layers if num_layers is None else num_layers
    if text in g.family.bands:
        first, stop = g.family.bands[text]
    else:
        low, dash, high = text.partition("-")
        if not all(re.fullmatch("[0-9]{1,6}", part) for part in ((low, high) if dash else (low,))):
            bands = "".join(f"{name}, " for name in g.family.bands)
            raise FigmentError(f"{flag} {text!r}: must be {bands}a layer such as 4 or a range such as 4-9")
        first, stop = int(low), int(high or low) + 1
    if first >= min(stop, num_layers):
        raise FigmentError(f"{flag} {text!r}: this model has layers 0 to {num_layers - 1}")
    return first, min(stop, num_layers)


def bands_of(g: Generator) -> list[str]:
    """Return the names of the family's bands that have at least one layer in `g`."""
    return [name for name, (first, _) in g.family.bands.items() if first < g.num_layers]
