"""The command line. Each verb is one short function that imports its stage inside its body, so that --help is fast.

figment make pictures/ -o hero/ --time 8h
figment train heads.zip -o runs --kimg 200
"""

import os

from figment.base.errors import run_with_exit_codes

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
    run_with_exit_codes(app)
