"""From recipes to w: seeds and projected pictures summed by band, then moved along named directions."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.draw.directions import Direction, apply_directions, load_directions, sefa_directions
from figment.draw.latents import seeds_to_w
from figment.nets.base import Generator
from figment.web.recipe import NAME, Recipe

KEPT = 256
"""Mapped seeds that are remembered."""
OFFERED = 8
"""SeFa's directions that are offered where none are saved with the model."""


class Composer:
    """What turns recipes into w for one generator; several threads may ask."""

    def __init__(
        self,
        g: Generator,  # the generator
        latent: Callable[[str], Tensor | None],  # [L, D] of a projected picture, None where there is none
        directions: Mapping[str, Direction] | None = None,  # by name; None for none
    ) -> None:
        self.g, self.latent, self.directions = g, latent, directions or {}
        self.mean = g.w_avg.detach().float().cpu()  # [D]
        self.seen: OrderedDict[tuple[str, float], Tensor] = OrderedDict()
        self.lock = threading.Lock()

    def w(self, recipe: Recipe) -> Tensor:
        """The latents of `recipe`, [L, D]; of a plain seed exactly those that `figment sample` draws."""
        with self.lock:
            ws = {source: self._source(source, recipe.psi) for source in recipe.sources}
        mixed = self.mean.repeat(self.g.num_layers, 1)  # [L, D]
        bands = self.g.family.bands
        if len(recipe.bands) != len(bands):
            raise FigmentError(f"r: sources of {len(recipe.bands)} bands; this model has {', '.join(bands)}")
        for (first, stop), terms in zip(bands.values(), recipe.bands, strict=True):
            total = sum(weight for _, weight in terms)
            band = mixed[first:stop] * (1 - total)
            for source, weight in terms:
                band = band + weight * ws[source][first:stop]
            mixed[first:stop] = band
        return self._edited(mixed, recipe)

    def _source(self, source: str, psi: float) -> Tensor:
        """The truncated latents of a seed or a projected picture, [L, D]."""
        key = (source, psi)
        if key not in self.seen:
            if source[0] == "p":
                found = self.latent(source)
                if found is None or found.shape != (self.g.num_layers, self.g.w_dim):
                    raise FigmentError(f"r {source}: no such projected picture of this model here")
                self.seen[key] = torch.lerp(self.mean, found, psi) if psi != 1 else found
            else:
                self.seen[key] = seeds_to_w(self.g, [int(source)], psi)[0]
            while len(self.seen) > KEPT:
                self.seen.popitem(last=False)
        self.seen.move_to_end(key)
        return self.seen[key]

    def _edited(self, w: Tensor, recipe: Recipe) -> Tensor:
        """`w` moved along the recipe's directions, [L, D]."""
        if not recipe.edits:
            return w
        strange = [name for name, _ in recipe.edits if name not in self.directions]
        if strange:
            raise FigmentError(f"r {strange[0]!r}: this model has no such direction")
        moves = [(self.directions[name], amount) for name, amount in recipe.edits]
        return apply_directions(w[None], moves)[0]


def find_directions(model: Path, g: Generator) -> dict[str, Direction]:
    """The directions saved with `model`, or SeFa's first ones; by name. Empty where the family has none."""
    found = load_directions(model)
    if not found:
        try:
            found = sefa_directions(g, OFFERED)
        except FigmentError:
            found = []
    return {direction.name: direction for direction in found if NAME.fullmatch(direction.name)}


def digest_of(path: Path) -> str:
    """A digest of the file's bytes, 16 hex digits: another model draws other pictures."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
