"""The Typer application and what its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from figment.base.settings import PSI, within
from figment.cli.settings import must

app = typer.Typer(
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


def output_option(text: str) -> Any:
    """Return the option -o with a help text that says what the command writes there."""
    return typer.Option("--output", "-o", help=text)


def example(*lines: str) -> str:
    """Return the last paragraph of a command's help: command lines that can be pasted."""
    return "Examples:\n\n\b\n" + "\n".join(f"  figment {line}" for line in lines)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that the user set, those that are not None."""
    return {name: value for name, value in options.items() if value is not None}
