"""The command line's application, and what its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from figment.base.docs import field_docs

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From a folder of pictures to characters who do not exist.\n\nStart with: figment make pictures/ -o hero/",
)

TRAIN = field_docs("train/config.py")

Out = Annotated[Path, typer.Option("--output", "-o", help="Where the result goes.")]
Model = Annotated[Path, typer.Argument(help="A model file or a run's folder.")]
Psi = Annotated[float, typer.Option(help="Truncation: 0 draws the mean character, 1 the full variety.")]
Cutoff = Annotated[int | None, typer.Option(help="Truncate only the layers below this one; unset truncates all.")]
Seeds = Annotated[str, typer.Option(help="Seeds and ranges of them, e.g. 0-63 or 1,5,9-12.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; unset takes the GPU where there is one.")]


def example(*lines: str) -> str:
    """The last paragraph of a command's help: lines that can be pasted."""
    return "Examples:\n\n\b\n" + "\n".join(f"  figment {line}" for line in lines)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that the user set."""
    return {name: value for name, value in options.items() if value is not None}
