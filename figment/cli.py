"""The command line: the verbs are in commands/, each importing its stage inside its body.

figment make pictures/ -o hero/ --time 8h
figment train heads.zip -o runs --kimg 200
"""

# Importing a module adds its verbs, and --help lists them in this order: the story's.
# isort: off
from figment.commands import (  # noqa: F401
    whole,
    pictures,
    heads,
    review,
    training,
    networks,
    scoring,
    drawing,
    editing,
    sharing,
    serving,
)
from figment.commands.app import app
from figment.base.errors import run_told


def main() -> None:
    """Run the command line; a mistake of the user's is one line and exit code 2."""
    run_told(app)
