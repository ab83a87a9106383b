"""Families by name: the only place that lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from figment.base.errors import FigmentError

if TYPE_CHECKING:
    from figment.nets.base import Discriminator, Family, Generator

NAMES = ("stylegan2", "stylegan1", "progan", "lucidrains", "stylegan3-t", "stylegan3-r")
"""The built-in families, for help texts: known without importing torch."""

DISCRIMINATORS = ("family", "projected")
"""The family's own discriminator, and those that work beside any generator."""

_ADDED: dict[str, Family] = {}


def register(family: Family) -> Family:
    """Add a family from outside of figment, so that it trains, loads and draws like the built-in ones.

    Raises ValueError if another family has its name.
    """
    if families().get(family.name, family) is not family:
        raise ValueError(f"there is already a family {family.name}")
    _ADDED[family.name] = family
    return family


def families() -> dict[str, Family]:
    """Return all families by name, the built-in ones first."""
    from figment.nets import lucidrains, progan, stylegan1, stylegan2, stylegan3

    built_in = (stylegan2.FAMILY, stylegan1.FAMILY, progan.FAMILY, lucidrains.FAMILY, *stylegan3.FAMILIES)
    return {family.name: family for family in built_in} | _ADDED


def get_family(name: object) -> Family:
    """Return the family of this name; raises FigmentError that lists the names."""
    known = families()
    if not isinstance(name, str) or name not in known:
        raise FigmentError(f"family {name!r}: must be one of {', '.join(known)}")
    return known[name]


def build_generator(settings: Mapping[str, Any]) -> Generator:
    """Return a generator of `settings["family"]` with fresh random weights; the other entries are its configuration."""
    return get_family(settings.get("family")).build_generator(settings)


def build_discriminator(settings: Mapping[str, Any]) -> Discriminator:
    """Return a discriminator of `settings["family"]` with fresh random weights; `settings["kind"]` may name another."""
    from figment.nets import projected

    family = get_family(settings.get("family"))
    if settings.get("kind") != projected.KIND:
        return family.build_discriminator(settings)
    return projected.build(family, settings)
