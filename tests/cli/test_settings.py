from dataclasses import dataclass, field, fields
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from figment.base.settings import NO_OPTION, PATH, one_of
from figment.cli.settings import field_docs, settings_of
from figment.curate.verdicts import Thresholds
from figment.train.augment.pipeline import KINDS
from figment.train.config import Networks, Recipe, Schedule


@pytest.mark.parametrize("kind", [Networks, Recipe, Schedule, Thresholds])
def test_every_field_of_a_configuration_has_its_line(kind):
    docs = field_docs(kind)
    for each in fields(kind):
        assert docs[each.name].endswith("."), each.name
        assert "\n" not in docs[each.name]


def test_the_help_names_every_kind_of_augmentation():
    assert all(f" {letter} " in field_docs(Recipe)["augment_kinds"] for letter in KINDS)


@dataclass(frozen=True)
class Sizes:
    width: int = 3
    """Width in pixels,
    without borders."""
    form: Annotated[str, one_of("round", "square")] = "round"
    """Form."""
    hidden: int = field(default=1, metadata=NO_OPTION)
    """Not an option."""
    file: str | None = field(default=None, metadata=PATH)
    """A file."""
    loud: bool = False
    """Be loud."""
    smooth: bool = True
    """Be smooth."""


def made(**options):
    """Return an application of one command with the options of `Sizes`, and a list of what it was called with."""
    app, calls = typer.Typer(rich_markup_mode=None, add_completion=False), []

    @app.command()
    @settings_of(Sizes, **options)
    def draw(name: str, count: int = 2, **settings: Any) -> None:
        calls.append((name, count, settings))

    return app, calls


def test_fields_become_options_with_help_choices_and_defaults():
    app, _ = made()
    output = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert "Width in pixels, without borders. Default: 3." in output
    assert "Form. One of: round, square. Default: round." in output
    assert "--smooth / --no-smooth Be smooth. Default: --smooth." in output
    assert "--loud Be loud. --" in output and "--no-loud" not in output and "--hidden" not in output


def test_the_command_gets_only_what_was_set():
    app, calls = made()
    for line in ("a", "a --count 3 --width 0 --no-smooth --file b/c/", "a --loud --form oval"):
        assert CliRunner().invoke(app, line.split()).exit_code == 0
    assert calls == [
        ("a", 2, {}),
        ("a", 3, {"width": 0, "smooth": False, "file": "b/c"}),
        ("a", 2, {"form": "oval", "loud": True}),  # what the value must be is checked with all others
    ]


def test_some_fields_without_defaults():
    app, _ = made(only=("width", "loud"), show_defaults=False)
    names = {parameter.name for parameter in get_command(app).params}
    assert names == {"name", "count", "width", "loud"}
    assert "Default: 3" not in CliRunner().invoke(app, ["--help"]).output


def test_options_listed_first():
    app, calls = made(first=("loud", "count", "file"))
    names = [each.name for each in get_command(app).params if each.param_type_name == "option"]
    assert names == ["loud", "count", "file", "width", "form", "smooth"]
    assert CliRunner().invoke(app, ["a", "--loud", "--count", "3"]).exit_code == 0
    assert calls == [("a", 3, {"loud": True})]
