"""Recipes: a character as a line of text, short enough for a link; the same line draws the same image.

    17@0.7                            seed 17 at truncation 0.7
    17:0.6,22:0.4@0.7                 60% of seed 17 and 40% of seed 22
    17;22;17,5:0.1@0.7!smile:1.5      coarse of 17, middle of 22, fine of 17 with a little of 5; 1.5 steps along `smile`

A term is a seed, or the name of a projected image (p and hex digits), with its weight. Per band of layers,
w = w_avg + psi * sum(weight * (w_term - w_avg)). So blends and children of recipes are recipes again.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from figment.base.errors import FigmentError
from figment.nets.base import BANDS

Terms = tuple[tuple[str, float], ...]
"""Sources and their weights."""
SOURCE = re.compile(r"[0-9]{1,10}|p[0-9a-f]{16}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
NUMBER = re.compile(r"[+-]?([0-9]{1,12}(\.[0-9]{0,18})?|\.[0-9]{1,18})(e[+-]?[0-9]{1,2})?")
MAX_TEXT = 2000
"""Most characters of a recipe."""
MAX_TERMS = 12
"""Most terms of a band; breeding drops those with the smallest weights."""
MAX_WEIGHT = 8.0
MAX_PSI = 2.0
MAX_EDITS = 16
MAX_AMOUNT = 20.0
DIGITS = 4
"""Decimal places of weights after breeding and blending."""


@dataclass(frozen=True)
class Recipe:
    """The definition of a character."""

    bands: tuple[Terms, ...]
    """The sources of each band of layers of the generator's family, in their order."""
    psi: float = 0.7
    """Truncation: 0 gives the mean character, 1 the full variety."""
    edits: tuple[tuple[str, float], ...] = ()
    """Names of directions, and the amount of each."""

    def __str__(self) -> str:
        parts = [
            ",".join(source if weight == 1 else f"{source}:{_number(weight)}" for source, weight in terms)
            for terms in self.bands
        ]
        text = parts[0] if len(set(parts)) == 1 else ";".join(parts)
        edits = ",".join(f"{name}:{_number(amount)}" for name, amount in self.edits)
        return f"{text}@{_number(self.psi)}" + (f"!{edits}" if edits else "")

    @property
    def sources(self) -> list[str]:
        """All seeds and projected images in it, without duplicates."""
        return list(dict.fromkeys(source for terms in self.bands for source, _ in terms))


def parse_recipe(
    text: str,
    flag: str = "r",  # its name in messages
    bands: Collection[str] = BANDS,  # names of the bands of layers that the generator's family has
) -> Recipe:
    """Return the recipe that `text` spells; raises FigmentError with the value and the rule."""
    if len(text) > MAX_TEXT:
        raise FigmentError(f"{flag}: {len(text)} characters; must be at most {MAX_TEXT}")
    head, _, tail = text.partition("!")
    terms, at, psi = head.partition("@")
    lists = tuple(_terms(part, flag) for part in terms.split(";"))
    if len(lists) not in (1, len(bands)):
        raise FigmentError(f"{flag} {text[:80]!r}: must be one list of sources, or one for each of {';'.join(bands)}")
    edits = {}
    for part in tail.split(",") if tail else []:
        name, _, amount = part.rpartition(":")
        if not NAME.fullmatch(name):
            raise FigmentError(f"{flag} {part[:80]!r}: must be a direction's name and an amount, such as smile:1.5")
        edits[name] = read_number(amount, f"{flag} {name}", -MAX_AMOUNT, MAX_AMOUNT)
    if len(edits) > MAX_EDITS:
        raise FigmentError(f"{flag}: {len(edits)} edits; must be at most {MAX_EDITS}")
    return Recipe(
        bands=lists * len(bands) if len(lists) == 1 else lists,
        psi=read_number(psi, f"{flag} psi", -MAX_PSI, MAX_PSI) if at else Recipe.psi,
        edits=tuple((name, amount) for name, amount in sorted(edits.items()) if amount),
    )


def _terms(text: str, flag: str) -> Terms:
    """Return the terms of one band."""
    terms: dict[str, float] = {}
    parts = text.split(",")
    if len(parts) > MAX_TERMS:
        raise FigmentError(f"{flag}: {len(parts)} sources in a band; must be at most {MAX_TERMS}")
    for part in parts:
        source, colon, weight = part.partition(":")
        if not SOURCE.fullmatch(source) or (source[0] != "p" and int(source) >= 2**32):
            raise FigmentError(f"{flag} {source[:40]!r}: must be a seed below 2**32 or a projected image")
        source = source if source[0] == "p" else str(int(source))
        value = read_number(weight, f"{flag} {source}", -MAX_WEIGHT, MAX_WEIGHT) if colon else 1.0
        terms[source] = terms.get(source, 0.0) + value
    return tuple(terms.items())


def read_number(
    text: str,
    flag: str,
    low: float,
    high: float,
) -> float:
    """Return the number in `text`; raises FigmentError for other text, NaN, and numbers outside of `low` to `high`."""
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    if not low <= value <= high:
        raise FigmentError(f"{flag} {text[:40]!r}: must be a number from {low:g} to {high:g}")
    return value


def _number(value: float) -> str:
    """Return the shortest text of `value`: 0.7, 1, -0.25."""
    return repr(int(value)) if value == int(value) else repr(value)


def blend(
    first: Recipe,
    second: Recipe,
    at: Sequence[float],  # share of `second` in each band, 0 to 1
) -> Recipe:
    """Return a blend of two recipes, with the psi of `first`; edits are blended by the mean share."""
    shares: list[tuple[float, ...]] = [(1 - share, share) for share in at]
    edits = {name: sum(at) / len(at) * amount for name, amount in second.edits}
    for name, amount in first.edits:
        edits[name] = edits.get(name, 0.0) + (1 - sum(at) / len(at)) * amount
    return _mix((first, second), shares, edits)


def breed(
    parents: list[Recipe],  # two to four, with equal numbers of bands
    seed: int,
    mutation: float = 0.15,  # standard deviation of the weight of a random character; 0 for none
) -> Recipe:
    """Return a child: each band mixes the parents' w with random weights that favor one, and mutates a little."""
    text = " ".join([str(seed), *map(str, parents)])
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
    bands = len(parents[0].bands)
    shares = [tuple(rng.dirichlet([0.5] * len(parents)).tolist()) for _ in range(bands)]
    mean = [sum(share[i] for share in shares) / bands for i in range(len(parents))]
    edits: dict[str, float] = {}
    for parent, share in zip(parents, mean, strict=True):
        for name, amount in parent.edits:
            edits[name] = edits.get(name, 0.0) + share * amount
    stranger = Recipe(bands=(((str(rng.integers(2**32)), 1.0),),) * bands, psi=parents[0].psi)
    pulls = [float(rng.normal(0, mutation)) if mutation else 0.0 for _ in range(bands)]
    return _mix((*parents, stranger), [(*share, pull) for share, pull in zip(shares, pulls, strict=True)], edits)


def _mix(
    recipes: tuple[Recipe, ...],
    shares: list[tuple[float, ...]],  # of each recipe, for each band
    edits: dict[str, float],
) -> Recipe:
    """Return the weighted sum of recipes with the first nonzero psi; weights are scaled for recipes of other psi."""
    psi = next((recipe.psi for recipe in recipes if recipe.psi), 0.0)
    bands = []
    for band, share in enumerate(shares):
        terms: dict[str, float] = {}
        for recipe, part in zip(recipes, share, strict=True):
            for source, weight in recipe.bands[band]:
                scaled = part * weight * (recipe.psi / psi if psi else 1.0)
                terms[source] = terms.get(source, 0.0) + scaled
        bands.append(_trim(terms))
    kept = sorted(((name, round(amount, 2)) for name, amount in edits.items()), key=lambda item: -abs(item[1]))
    mixed = Recipe(bands=tuple(bands), psi=psi)
    return replace(mixed, edits=tuple(sorted(item for item in kept[:MAX_EDITS] if item[1])))


def _trim(terms: dict[str, float]) -> Terms:
    """Return the terms with the largest weights, rounded and bounded; at least one."""
    heaviest = sorted(terms.items(), key=lambda item: -abs(item[1]))[:MAX_TERMS]
    rounded = [(source, min(max(round(weight, DIGITS), -MAX_WEIGHT), MAX_WEIGHT)) for source, weight in heaviest]
    return tuple(item for item in rounded if item[1]) or ((rounded[0][0], 0.0),)
