"""Values that every command refuses before it starts."""

import sys

import pytest
from typer.main import get_command

from figment.base.errors import FigmentError
from figment.cli import app, main


def refused(monkeypatch, capsys, *line):
    """Return the line that `figment LINE` refuses with."""
    monkeypatch.setattr(sys, "argv", ["figment", *map(str, line)])
    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith("figment: ") and error.count("\n") == 1
    return error.removeprefix("figment: ").rstrip("\n")


def commands():
    """Return every command by the words that call it."""
    found = {}
    for name, command in get_command(app).commands.items():
        for inner, each in getattr(command, "commands", {"": command}).items():
            found[f"{name} {inner}".strip()] = each
    return found


COMMANDS = commands()


def line_with(command, param, value):
    """Return the arguments of a command whose required values are "x", and that of `param` is `value`."""
    line = []
    for each in command.params:
        given = value if each is param else "x" if each.required else None
        if given is not None:
            line += [given] if each.param_type_name == "argument" else [max(each.opts, key=len), given]
    return line


@pytest.mark.parametrize("value", ["", "  "])
@pytest.mark.parametrize("words", COMMANDS)
def test_no_value_is_empty(words, value):
    command = COMMANDS[words]
    taking = [param for param in command.params if not getattr(param, "is_flag", False)]
    assert taking
    for param in taking:
        name = param.name.upper() if param.param_type_name == "argument" else max(param.opts, key=len)
        with pytest.raises(FigmentError) as caught:
            command.make_context(words, line_with(command, param, value))
        assert str(caught.value) == f"{name} {value!r}: must not be empty"


def test_one_empty_value_of_several(monkeypatch, capsys):
    assert refused(monkeypatch, capsys, "compare", "a", "", "b") == "RUNS '': must not be empty"
    assert refused(monkeypatch, capsys, "morph", "a", "-o=b", "--blend", "c", "--blend=") == (
        "--blend '': must not be empty"
    )


FOLDERS = (
    "make x",
    "crop x",
    "sample x",
    "augment x",
    "score x y",
    "compare x y",
    "publish x",
    "project x y",
    "train x",
)
FILES = ("report x", "heads train x --pictures y", "mix x", "morph x", "sweep x", "film x", "export x", "convert x")


@pytest.mark.parametrize(("line", "folder"), [*((line, True) for line in FOLDERS), *((line, False) for line in FILES)])
def test_an_output_that_cannot_be_written_is_refused_at_once(monkeypatch, tmp_path, line, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    wrong = ("file", "file/a") if folder else ("folder", "file/a")
    command, words = next((COMMANDS[words], words) for words in COMMANDS if line.startswith(f"{words} "))
    for output in (*wrong, "a" * 5000):
        with pytest.raises(FigmentError, match="^--output "):
            command.make_context(words, [*line.removeprefix(words).split(), "-o", output])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_long_value_is_cut_in_its_message(monkeypatch, capsys):
    assert len(refused(monkeypatch, capsys, "sample", "x", "-o", "a" * 5000)) < 300
    assert len(refused(monkeypatch, capsys, "sample", "x", "-o", "y", "--cutoff", "1" * 5000)) < 300


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--name 3=a --apply b=1", "--name and --apply: give one of them"),
        ("--labels a.json --apply b=1", "--labels and --apply: give one of them"),
        ("--find pca --apply a=1 -o x", "--find pca: finds directions for a sheet or for --name, not with --apply"),
        ("--find pca --labels a.json", "--find pca: finds directions for a sheet or for --name, not with --labels"),
        ("--name 3=a -o x.png", "--output x.png: not with --name"),
        ("--layers 0-3 -o x.png", "--layers 0-3: only with --name, --labels or --apply"),
    ],
)
def test_no_option_of_edit_is_ignored(monkeypatch, capsys, options, says):
    assert refused(monkeypatch, capsys, "edit", "model", *options.split()).startswith(says)
