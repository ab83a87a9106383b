"""Command-line options generated from the fields of configuration dataclasses.

    @app.command()
    @settings_of(Networks, Recipe, Schedule)
    def train(data: Path, **settings: Any) -> None:      # settings: only what the user set

A field becomes an option of its name and type. Its help is the docstring below the field, followed by the allowed
values and the default; see base/settings.py for what else a field can say.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import typing
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from figment.base.errors import FigmentError
from figment.base.settings import Rule, rules

Command = Callable[..., None]


def settings_of(
    *kinds: type,  # configuration dataclasses
    only: Collection[str] | None = None,  # names of the fields to offer; None means all
    show_defaults: bool = True,  # False if the command has defaults of its own
    first: Sequence[str] = (),  # options of the command, its own or generated, that its help lists first
) -> Callable[[Command], Command]:
    """Return a decorator that adds an option for each field and passes those that are set as keyword arguments."""
    parameters = [
        option(field.name, annotation)
        for kind in kinds
        for field, annotation in _annotated(kind, show_defaults)
        if only is None or field.name in only
    ]
    names = [parameter.name for parameter in parameters]

    def collect(values: dict[str, Any]) -> dict[str, Any]:
        chosen = {name: values[name] for name in names if values[name] is not None}
        return {name: str(value) if isinstance(value, Path) else value for name, value in chosen.items()}

    return add_options(parameters, collect, first)


def must(rule: Rule) -> Callable[[typer.CallbackParam, Any], Any]:
    """Return a callback of an option that raises FigmentError if a value that is set breaks the rule."""

    def check(param: typer.CallbackParam, value: Any) -> Any:
        if value is not None and not rule.holds(value):
            raise FigmentError(f"{max(param.opts, key=len)} {value}: must be {rule.text}")
        return value

    return check


def option(
    name: str,
    annotation: Any,  # its type, annotated for Typer
    default: Any = None,
) -> inspect.Parameter:
    """Return an option for `add_options`."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def add_options(
    parameters: list[inspect.Parameter],  # made by `option`
    collect: Callable[[dict[str, Any]], dict[str, Any]] = dict,  # their values by name -> arguments of the command
    first: Sequence[str] = (),  # options of the command, its own or added, that its help lists first
) -> Callable[[Command], Command]:
    """Return a decorator that gives a command further options; the command takes what `collect` makes of them.

    By default these are the values by the names of the options. The command takes them as `**keywords`.
    """
    names = {parameter.name for parameter in parameters}

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        kept = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            more = collect({name: value for name, value in values.items() if name in names})
            command(**{name: value for name, value in values.items() if name not in names}, **more)

        keyword_only = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in kept]
        places = {name: place for place, name in enumerate(first)}
        ordered = sorted([*keyword_only, *parameters], key=lambda each: places.get(each.name, len(places)))
        shown: Any = run
        shown.__signature__ = own.replace(parameters=ordered)
        return run

    return decorate


def field_docs(kind: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass by the field's name, on one line each."""
    [body] = [node.body for node in _parsed(inspect.getfile(kind)) if node.name == kind.__name__]
    docs = {}
    for field, after in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            docs[field.target.id] = " ".join(str(ast.literal_eval(after.value)).split())
    return docs


@functools.cache
def _parsed(file: str) -> list[ast.ClassDef]:
    """Return the classes of a source file, parsed once for all of them."""
    return [node for node in ast.parse(Path(file).read_text()).body if isinstance(node, ast.ClassDef)]


def _annotated(kind: type, show_defaults: bool) -> Iterator[tuple[Field[Any], Any]]:
    """Yield each field that has an option, with its type annotated for Typer."""
    docs, limits, hints = field_docs(kind), rules(kind), typing.get_type_hints(kind)
    for field in fields(kind):
        if not field.metadata.get("option", True):
            continue
        bare = hints[field.name]
        text, flag = docs[field.name], f"--{field.name.replace('_', '-')}"
        if field.name in limits and limits[field.name].choices:
            text += f" One of: {', '.join(limits[field.name].choices)}."
        if show_defaults and not any(field.default is nothing for nothing in (MISSING, None, False)):
            text += f" Default: {_shown(field.default, flag)}."
        if field.metadata.get("path"):
            bare = Path
        # A switch that is off by default only needs a flag to switch it on.
        switch = f"{flag}/--no-{flag[2:]}" if bare is bool and field.default is not False else flag
        yield field, Annotated[bare | None, typer.Option(switch, help=text)]


def _shown(default: object, flag: str) -> str:
    """Return a default as the user would type it."""
    return flag if default is True else f"{default:g}" if isinstance(default, float) else str(default)
