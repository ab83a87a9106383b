"""Turn recipes into w: seeds and projected images summed per band, then moved along named directions."""

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
"""Mapped seeds in the cache."""
OFFERED = 8
"""Number of SeFa directions for a model without saved ones."""


class Composer:
    """Turns recipes into w for one generator; threads may share it."""

    def __init__(
        self,
        g: Generator,
        latent: Callable[[str], Tensor | None],  # returns w [L, D] of a projected image, None for an unknown one
        directions: Mapping[str, Direction] | None = None,  # by name; None for none
    ) -> None:
        self.g, self.latent, self.directions = g, latent, directions or {}
        self.mean = g.w_avg.detach().float().cpu()  # [D]
        self.seen: OrderedDict[tuple[str, float], Tensor] = OrderedDict()
        self.lock = threading.Lock()

    def w(self, recipe: Recipe) -> Tensor:
        """Return the w of `recipe`, [L, D]; for a single seed exactly that of `figment sample`.

        Raises FigmentError for unknown projected images or directions, and for recipes of another number of bands.
        """
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
        """Return the truncated w of a seed or a projected image, [L, D]."""
        key = (source, psi)
        if key not in self.seen:
            if source[0] == "p":
                found = self.latent(source)
                if found is None or found.shape != (self.g.num_layers, self.g.w_dim):
                    raise FigmentError(f"r {source}: no such projected image of this model")
                self.seen[key] = torch.lerp(self.mean, found, psi) if psi != 1 else found
            else:
                self.seen[key] = seeds_to_w(self.g, [int(source)], psi)[0]
            while len(self.seen) > KEPT:
                self.seen.popitem(last=False)
        self.seen.move_to_end(key)
        return self.seen[key]

    def _edited(self, w: Tensor, recipe: Recipe) -> Tensor:
        """Return `w` moved along the recipe's directions, [L, D]."""
        if not recipe.edits:
            return w
        unknown = [name for name, _ in recipe.edits if name not in self.directions]
        if unknown:
            raise FigmentError(f"r {unknown[0]!r}: this model has no such direction")
        moves = [(self.directions[name], amount) for name, amount in recipe.edits]
        return apply_directions(w[None], moves)[0]


def find_directions(model: Path, g: Generator) -> dict[str, Direction]:
    """Return the directions saved with `model` by name, else the first ones of SeFa; {} if the family has no styles."""
    found = load_directions(model)
    if not found:
        try:
            found = sefa_directions(g, OFFERED)
        except FigmentError:
            found = []
    return {direction.name: direction for direction in found if NAME.fullmatch(direction.name)}


def digest_of(path: Path) -> str:
    """Return 16 hex digits of the file's SHA-256, which identify a model."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
