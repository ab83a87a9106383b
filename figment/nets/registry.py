"""Families by name: from a configuration to a network."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

from figment.base.errors import FigmentError

FAMILIES = ("stylegan2", "stylegan1", "progan", "lucidrains")


def _build(kind: str, config: dict[str, Any]) -> nn.Module:
    family, rest = config.get("family"), {key: value for key, value in config.items() if key != "family"}
    if family not in FAMILIES:
        raise FigmentError(f"family {family!r}: must be one of {', '.join(FAMILIES)}")
    try:
        network: nn.Module = getattr(import_module(f"figment.nets.{family}"), kind)(**rest)
    except (TypeError, ValueError) as error:
        raise FigmentError(f"{family} {kind.lower()}: {error}") from None
    return network


def build_generator(config: dict[str, Any]) -> nn.Module:
    """The generator of `config["family"]`, its other entries as arguments; fresh random weights."""
    return _build("Generator", config)


def build_discriminator(config: dict[str, Any]) -> nn.Module:
    """The discriminator of `config["family"]`, its other entries as arguments; fresh random weights."""
    return _build("Discriminator", config)
