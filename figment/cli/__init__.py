"""The command line. Each verb is one short function that imports its stage inside its body, so that --help is fast.

figment make pictures/ -o hero/ --time 8h
figment train heads.zip -o runs --kimg 200
"""

import itertools
import os
import sys
from typing import Any

import typer

from figment.base.errors import FigmentError, run_with_exit_codes

# Importing a file adds its commands; `figment --help` lists them in this order.
# isort: off
from figment.cli import data, training, drawing, models  # noqa: F401
from figment.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line. A user's mistake is one line on stderr and exit code 2."""
    # OpenMP threads spin for milliseconds at every barrier, which takes the processor from other work. libgomp reads
    # this variable when PyTorch is first imported, which no module of the command line does.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    # Warnings of the library, such as a missing Triton, are one plain line on stderr.
    import logging

    logging.basicConfig(format="%(message)s")
    run_with_exit_codes(_run)


def _run() -> None:
    """Run the application; what Typer refuses, such as an unknown option, is a FigmentError too."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        if not hasattr(error, "format_message"):  # Typer's own errors have no public base class
            raise
        text = str(error.format_message())
        if text.count("\n") > 1:  # a command without arguments: its help
            print(text)
            sys.exit(2)
        raise FigmentError(_one_line(error, text)) from None


def _one_line(error: Any, text: str) -> str:
    """Return Typer's message as one line that begins with the option and its value."""
    text = " ".join(text.split())
    ctx = getattr(error, "ctx", None)
    help_line = f"; see `{ctx.command_path} --help`" if ctx is not None else ""
    names = getattr(getattr(error, "param", None), "opts", [])
    for name, value in itertools.zip_longest(sys.argv, sys.argv[1:], fillvalue=""):
        flag, equals, inline = name.partition("=")
        if flag in names and isinstance(error, typer.BadParameter) and "Missing" not in text:
            return f"{flag} {inline if equals else value}: {text.partition(': ')[2] or text}{help_line}"
    return f"{text.removesuffix('.')}{help_line}"
