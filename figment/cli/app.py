"""The Typer application and what its commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from figment.base.errors import FigmentError
from figment.base.files import check_output
from figment.base.settings import PSI, within
from figment.cli.settings import must


class Command(TyperCommand):
    """A command that refuses empty values. As a path, an empty text would mean the current folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse `args` into `ctx`; raises FigmentError for an empty value of an option or an argument."""
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for param in self.params:
            value = given.get(str(param.name))
            for text in value if isinstance(value, list | tuple) else [value]:
                if isinstance(text, str) and not text.strip():
                    is_option = param.param_type_name == "option"
                    name = max(param.opts, key=len) if is_option else str(param.name).upper()
                    raise FigmentError(f"{name} {text!r}: must not be empty")
        return super().parse_args(ctx, args)


class Application(typer.Typer):
    """A Typer application whose commands refuse empty values."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **options: Any
    ) -> Callable[[Any], Any]:
        """Return a decorator that adds a command."""
        return super().command(name, cls=cls or Command, **options)


app = Application(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From a folder of pictures to characters who do not exist.\n\nStart with: figment make pictures/ -o hero/",
)

Model = Annotated[Path, typer.Argument(help="A model file or a run's folder.")]
Psi = Annotated[
    float,
    typer.Option(
        help="Truncation psi: 0 draws the average character only, 1 the full variety; values in between trade "
        "variety for quality.",
        callback=must(PSI),
    ),
]
Cutoff = Annotated[
    int | None,
    typer.Option(
        help="Truncate only the layers below this number, which are the coarse ones. Unset: all layers.",
        callback=must(within(0, 1000)),
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="cpu, cuda, or one of several GPUs such as cuda:1. Unset: the GPU if there is one, else cpu."),
]


def output_option(
    text: str,  # help: what the command writes there
    *,
    folder: bool | None = None,  # whether it is a folder; None if that depends on other options
) -> Any:
    """Return the option -o, which raises FigmentError before the command starts if it can't be written."""

    def check(value: Path | None) -> Path | None:
        if value is not None and folder is not None:
            check_output(value, "--output", folder=folder)
        return value

    return typer.Option("--output", "-o", help=text, callback=check)


def example(*lines: str) -> str:
    """Return the last paragraph of a command's help: command lines that can be pasted."""
    return "Examples:\n\n\b\n" + "\n".join(f"  figment {line}" for line in lines)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that the user set, those that are not None."""
    return {name: value for name, value in options.items() if value is not None}
