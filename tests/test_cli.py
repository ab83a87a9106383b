from dataclasses import fields

import pytest
from typer.testing import CliRunner

from figment.cli import app, main
from figment.train.config import Networks, Recipe, Schedule

COMMANDS = (
    "make",
    "demo-art",
    "crop",
    "curate",
    "pack",
    "train",
    "sample",
    "morph",
    "film",
    "mix",
    "publish",
    "convert",
    "info",
    "score",
    "compare",
    "review",
    "report",
    "sweep",
    "project",
    "edit",
    "augment",
    "export",
    "serve",
    "plan",
    "bench",
)


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["figment", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_an_example(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"  figment {command} " in result.output


def test_help_names_every_command():
    output = CliRunner().invoke(app, ["--help"]).output
    assert all(f"  {command} " in output for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ("make", "none", "-o", "x"),
        ("crop", "none", "-o", "x"),
        ("curate", "none"),
        ("pack", "none", "-o", "x.zip"),
        ("train", "none.zip"),
        ("train", "--resume", "-o", "none"),
        ("sample", "none", "-o", "x"),
        ("film", "none", "-o", "x.mp4"),
        ("morph", "none", "-o", "x.mp4"),
        ("mix", "none", "-o", "x.png"),
        ("publish", "none", "-o", "x"),
        ("convert", "none", "-o", "x.safetensors"),
        ("info", "none"),
        ("plan", "none"),
        ("score", "none", "none.zip"),
        ("compare", "none", "none"),
        ("review", "none"),
        ("report", "none"),
        ("project", "none", "none.png", "-o", "x"),
        ("edit", "none", "-o", "x.png"),
        ("augment", "none", "-o", "x"),
        ("export", "none", "-o", "x.onnx"),
        ("serve", "none"),
        ("sweep", "none", "-o", "x.png"),
        ("heads", "detect", "none", "-o", "x.json"),
        ("heads", "score", "none", "none.json"),
        ("sample", "none", "-o", "x", "--seeds", "b"),
        ("make", "none", "-o", "x", "--time", "soon"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert run_main(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("figment: ") and error.count("\n") == 1
    assert any(word in error for word in ("none", "--seeds 'b'", "--time 'soon'"))


def test_an_empty_folder_is_one_line(tmp_path, monkeypatch, capsys):
    assert run_main(monkeypatch, "crop", tmp_path, "-o", tmp_path.parent / "heads") == 2
    assert "holds no files" in capsys.readouterr().err


def test_a_full_disk_and_an_unwritable_folder_are_one_line(monkeypatch, capsys):
    def fail(error):
        def stage(*_, **__):
            raise error

        monkeypatch.setattr("figment.draw.film.film", stage)
        return run_main(monkeypatch, "film", "run", "-o", "x.mp4"), capsys.readouterr().err

    assert fail(OSError(28, "No space left on device", "out/x.mp4")) == (
        2,
        "figment: out/x.mp4: the disk is full; what was finished is intact\n",
    )
    assert fail(PermissionError(13, "Permission denied", "out")) == (2, "figment: out: Permission denied\n")


def test_every_setting_of_a_training_has_an_option():
    from typer.main import get_command

    options = {option.name for option in get_command(app).commands["train"].params}
    settings = {field.name for kind in (Networks, Recipe, Schedule) for field in fields(kind)}
    assert settings - options == {"resolution", "channels", "loss", "growing"}  # as the data and the family are


def test_settings_are_not_silently_ignored_where_a_run_goes_on(tmp_path, monkeypatch, capsys):
    assert run_main(monkeypatch, "train", "--resume", "-o", tmp_path, "--lr", "0.1", "--no-mirror", "--dry-run") == 2
    assert "--lr 0.1, --mirror False, --dry-run True: can't change with --resume" in capsys.readouterr().err


def test_a_wrong_size_is_one_line(tmp_path, monkeypatch, capsys):
    assert run_main(monkeypatch, "pack", tmp_path, "-o", tmp_path / "a.zip", "--resolution", "48") == 2
    assert "--resolution 48: must be a power of two" in capsys.readouterr().err
