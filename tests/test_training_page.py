"""docs/training.md names only flags, presets, commands and statistics that exist."""

import re
from pathlib import Path

import typer

from figment.cli import app
from figment.train.presets import PRESETS

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text()


TORCHRUN = {"--nproc-per-node", "--nnodes"}
"""Options of torchrun, which the page names too."""


def flags(command):
    """The long options of a command."""
    parameters = typer.main.get_command(app).commands[command].params
    return {name for parameter in parameters for name in [*parameter.opts, *parameter.secondary_opts]}


def test_commands_and_flags_exist():
    known = set(typer.main.get_command(app).commands)
    assert set(re.findall(r"figment (\w+)", PAGE)) <= known
    everywhere = set().union(*(flags(command) for command in ("train", "curate", "sample")))
    named = set(re.findall(r"(--[a-z][a-z-]*)", PAGE)) - TORCHRUN
    assert named <= everywhere and len(named) > 10
    assert named - {"--psi"} <= flags("train")


def test_presets_exist():
    named = {name for pair in re.findall(r"[Pp]reset `(\w+)`|--preset (\w+)", PAGE) for name in pair if name}
    assert named <= set(PRESETS) and {"auto", "cpu", "story"} <= named
