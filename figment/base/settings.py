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


POSITIVE = Rule("above 0", lambda value: value > 0)
NOT_NEGATIVE = Rule("0 or more", lambda value: value >= 0)
AT_LEAST_1 = Rule("1 or more", lambda value: value >= 1)
PROBABILITY = Rule("from 0 to 1", lambda value: 0 <= value <= 1)
SEED = Rule("from 0 to 2147483647", lambda value: 0 <= value < 2**31)


def rules(kind: type) -> dict[str, Rule]:
    """Return the rules in the types of a dataclass's fields, by the name of the field."""
    found = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Rule):
                found[name] = extra
    return found
