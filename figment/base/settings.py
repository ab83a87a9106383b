"""Rules and hints that the fields of configuration dataclasses carry.

    keep: Annotated[int, AT_LEAST_1] = 2
    loss: Annotated[str, one_of("logistic", "wgan-gp")] = field(metadata=NO_OPTION)

`rules` finds the rules, and the command line makes its options from the fields.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

NO_OPTION: Mapping[str, bool] = types.MappingProxyType({"option": False})
"""Metadata of a field without a command-line option."""
PATH: Mapping[str, bool] = types.MappingProxyType({"path": True})
"""Metadata of a text field that holds a path."""


@dataclass(frozen=True)
class Rule:
    """What a value must be; part of a field's type."""

    text: str
    """Completes "must be ..."."""
    holds: Callable[[Any], bool]
    """Return whether a value keeps the rule."""
    choices: tuple[str, ...] = ()
    """All allowed values, for the help text; empty if they can't be listed."""


def one_of(*choices: str) -> Rule:
    """Return the rule that a value is one of these."""
    text = " or ".join(choices) if len(choices) == 2 else f"one of {', '.join(choices)}"
    return Rule(text, lambda value: value in choices, choices)


def within(low: float, high: float) -> Rule:
    """Return the rule that a number is finite and from `low` to `high`."""
    return Rule(f"from {low} to {high}", lambda value: low <= value <= high)


MOST = 1_000_000_000
"""Upper bound of numbers that have no other."""
POSITIVE = Rule(f"above 0 and at most {MOST}", lambda value: 0 < value <= MOST)
NOT_NEGATIVE = Rule(f"0 or more, at most {MOST}", lambda value: 0 <= value <= MOST)
AT_LEAST_1 = Rule(f"1 or more, at most {MOST}", lambda value: 1 <= value <= MOST)
PROBABILITY = within(0, 1)
SEED = within(0, 2**31 - 1)
Z_SEED = within(0, 2**32 - 1)
"""Seed of a latent, as numpy's RandomState takes it."""
PSI = within(-10, 10)
STEPS = within(1, 1_000_000)
"""Steps of an optimization."""


def rules(kind: type) -> dict[str, Rule]:
    """Return the rules in the types of a dataclass's fields, by the name of the field."""
    found = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Rule):
                found[name] = extra
    return found
