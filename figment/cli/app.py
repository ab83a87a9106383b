"""The Typer application and what its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From a folder of pictures to characters who do not exist.\n\nStart with: figment make pictures/ -o hero/",
)

Out = Annotated[Path, typer.Option("--output", "-o", help="Output file or folder.")]
Model = Annotated[Path, typer.Argument(help="A model file or a run's folder.")]
Psi = Annotated[float, typer.Option(help="Truncation psi: 0 draws the mean character, 1 the full variety.")]
Cutoff = Annotated[int | None, typer.Option(help="Truncate only layers below this one. Unset: all layers.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda. Unset: cuda if there is a GPU.")]


def example(*lines: str) -> str:
    """Return the last paragraph of a command's help: command lines that can be pasted."""
    return "Examples:\n\n\b\n" + "\n".join(f"  figment {line}" for line in lines)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that the user set, those that are not None."""
    return {name: value for name, value in options.items() if value is not None}
