import inspect
import os
import subprocess
import sys
from dataclasses import fields

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from figment.base.errors import FigmentError
from figment.cli import app, main
from figment.cli.drawing import parse_blends
from figment.curate.verdicts import Thresholds
from figment.nets.registry import NAMES
from figment.train.config import Networks, Recipe, Schedule
from figment.train.presets import PRESETS

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
    "heads detect",
    "heads train",
    "heads score",
)


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["figment", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_an_example(command):
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert f"  figment {command} " in result.output


def test_help_names_every_command():
    output = CliRunner().invoke(app, ["--help"]).output
    assert all(f"  {command.split()[0]} " in output for command in COMMANDS)


@pytest.mark.parametrize("group", [[], ["heads"]])
def test_no_summary_is_cut(group):
    output = CliRunner().invoke(app, [*group, "--help"], terminal_width=100).output
    assert "..." not in output.partition("Commands:")[2]
    commands = get_command(app).commands
    for name, command in (commands["heads"].commands if group else commands).items():
        summary = command.help.partition("\n\n")[0]
        assert len(summary) <= 55 and f"  {name} " in output and f" {summary}\n" in output


def test_help_gives_the_defaults_of_the_detector():
    from figment.heads.crop import MARGIN
    from figment.heads.detect import LISTED, THRESHOLD

    def text(command):
        return " ".join(CliRunner().invoke(app, [*command.split(), "--help"]).output.split())

    assert f"Unset: {THRESHOLD:g}." in text("crop") and f"Unset: {MARGIN:g}." in text("crop")
    assert f"Unset: {LISTED:g}." in text("heads detect")


def test_the_most_important_options_of_train_come_first():
    names = [each.name for each in get_command(app).commands["train"].params if each.param_type_name == "option"]
    assert names[:6] == ["kimg", "time", "init", "adapt", "preset", "family"]


def test_every_command_is_listed_here():
    commands = get_command(app).commands
    found = {*commands, *(f"heads {name}" for name in commands["heads"].commands)} - {"heads"}
    assert found == set(COMMANDS)


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


LINES = {
    "--psi": (
        "sample x -o y",
        "mix x -o y.png",
        "morph x -o y.mp4",
        "edit x -o y.png",
        "augment x -o y",
        "publish x -o y",
    ),
    "--cutoff": ("sample x -o y", "mix x -o y.png", "morph x -o y.mp4", "sweep x -o y.png"),
    "--blend-amount": ("sample x -o y", "mix x -o y.png", "morph x -o y.mp4", "sweep x -o y.png"),
    "--seconds": ("morph x -o y.mp4", "sweep x -o y.mp4", "bench"),
    "--fps": ("morph x -o y.mp4", "sweep x -o y.mp4"),
    "--size": ("morph x -o y.mp4",),
    "--start": ("sweep x -o y.png",),
    "--stop": ("sweep x -o y.png",),
    "--steps": ("sweep x -o y.png", "project x y -o z", "heads train x --pictures y -o z"),
    "--seed": ("project x y -o z", "augment x -o y", "demo-art y", "heads train x --pictures y -o z", "make . -o y"),
    "--count": ("edit x -o y.png",),
    "--images": ("augment x -o y", "score x y", "compare x y"),
    "--sample": ("score x y",),
    "--hold": ("augment x -o y",),
    "--pictures": ("demo-art y",),
    "--threshold": ("crop . -o y", "heads detect x -o y.json"),
    "--margin": ("crop . -o y",),
    "--workers": ("curate x", "pack . -o y.zip"),
    "--min-size": ("curate x",),
    "--max-difference": ("curate x",),
    "--port": ("serve x",),
    "--resolution": ("bench", "pack . -o y.zip", "make . -o y"),
    "--kimg": ("make . -o y",),
    "--watts": ("plan x",),
    "--kwh": ("plan x",),
}
"""Command lines by the option that gets an extreme value."""


@pytest.mark.parametrize(
    ("flag", "line", "value"),
    [
        (flag, line, value)
        for flag, lines in LINES.items()
        for line in lines
        for value in ("nan", "-99999999", "1" + "0" * 30)
    ],
)
def test_an_extreme_number_is_one_line_that_names_the_option(tmp_path, monkeypatch, capsys, flag, line, value):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    assert run_main(monkeypatch, *line.split(), f"{flag}={value}") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"figment: {flag} ") and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "line", ["sample x -o y --seeds=", "morph x -o y.mp4 --seeds=", "publish x -o y --seeds=", "sample x -o y --grid="]
)
def test_an_empty_option_is_not_the_default(monkeypatch, capsys, line):
    assert run_main(monkeypatch, *line.split()) == 2
    assert capsys.readouterr().err.startswith(f"figment: {line.split()[-1][:-1]} ''")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("morph x -o y.mp4 --fps=fast", "--fps fast: "),
        ("morph x -o y.mp4 --fps fast", "--fps fast: "),
        ("morph x --frames 3", "No such option: --frames"),
        ("morph x -o", "Option '-o' requires an argument"),
        ("morph", "Missing argument"),
        ("dance", "No such command 'dance'"),
        ("sample x y -o z", "Got unexpected extra argument"),
    ],
)
def test_what_no_command_takes_is_one_line(monkeypatch, capsys, line, says):
    assert run_main(monkeypatch, *line.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"figment: {says}") and error.count("\n") == 1


def test_no_arguments_are_the_help(monkeypatch, capsys):
    assert run_main(monkeypatch) == 2
    assert "Usage: " in capsys.readouterr().out


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_too_little_memory_is_one_line(monkeypatch, capsys, error):
    def stage(*_, **__):
        raise error

    monkeypatch.setattr("figment.draw.film.film", stage)
    assert run_main(monkeypatch, "film", "run", "-o", "x.mp4") == 2
    assert capsys.readouterr().err.startswith("figment: out of memory: ask for fewer")


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


def options_of(command):
    """Return the options of a command by name."""
    return {option.name: option for option in get_command(app).commands[command].params}


def test_every_setting_of_a_training_has_an_option():
    options = options_of("train").keys()
    settings = {field.name for kind in (Networks, Recipe, Schedule) for field in fields(kind)}
    assert settings - options == {"resolution", "channels", "growing"}  # as the data and the family are


def test_every_threshold_of_curate_has_an_option():
    assert {field.name for field in fields(Thresholds)} <= options_of("curate").keys()


def test_the_function_of_train_has_few_parameters():
    function = inspect.unwrap(get_command(app).commands["train"].callback)
    assert function.__name__ == "train" and len(inspect.signature(function).parameters) < 10


@pytest.mark.parametrize("command", ["sample", "mix", "morph", "sweep"])
def test_drawing_commands_share_their_options(command):
    function = inspect.unwrap(get_command(app).commands[command].callback)
    assert len(inspect.signature(function).parameters) <= 8
    shared = {"psi", "cutoff", "blend", "blend_layers", "blend_amount"} - ({"psi"} if command == "sweep" else set())
    assert shared <= options_of(command).keys()


def test_morph_and_sweep_have_lengths_of_their_own(monkeypatch):
    seen = []
    monkeypatch.setattr("figment.draw.sweep.sweep", lambda *_, **given: seen.append(given))
    for line in ("sweep a -o b.mp4", "sweep a -o b.mp4 --seconds 2 --fps 12 --cutoff 4"):
        assert CliRunner().invoke(app, line.split()).exit_code == 0
    expected = {"seeds": "0-3", "start": -1.0, "stop": 1.0, "steps": 9, "seconds": 6.0, "fps": 30, "cutoff": None}
    assert seen == [expected | {"blends": ()}, expected | {"seconds": 2.0, "fps": 12, "cutoff": 4, "blends": ()}]
    assert options_of("morph")["seconds"].default == 10.0


def test_help_lists_what_the_tables_allow():
    output = " ".join(CliRunner().invoke(app, ["train", "--help"]).output.split())
    assert f"One of: {', '.join(NAMES)}." in output
    assert f"One of: {', '.join(PRESETS)}." in output
    assert "One of: fp32, bf16." in output and "Default: 0.6." in output


def test_help_imports_nothing_heavy():
    script = "import sys, figment.cli; print({'torch', 'numpy', 'PIL', 'rich'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_openmp_threads_spin_briefly_unless_the_user_decides(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that it is restored afterwards
    monkeypatch.delenv("GOMP_SPINCOUNT")
    assert run_main(monkeypatch, "--help") == 0
    assert os.environ["GOMP_SPINCOUNT"] == "20000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert run_main(monkeypatch, "--help") == 0
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_warnings_of_the_library_are_plain_lines():
    script = """
import logging
from figment import cli
cli.run_with_exit_codes = lambda app: logging.getLogger("figment.train").warning("out of memory: smaller batch")
cli.main()
print(len(logging.getLogger().handlers))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stderr, done.stdout) == ("out of memory: smaller batch\n", "1\n")


def test_train_passes_what_the_user_set(monkeypatch):
    seen = {}
    monkeypatch.setattr("figment.train.run.start_training", lambda data, runs, **given: seen.update(given) or runs)
    line = "train a.zip --dry-run --kimg 3 --no-noise --adapt --init b/ --z-dim 8 --seed 0 --preset cpu"
    assert CliRunner().invoke(app, line.split()).exit_code == 0
    expected = {"noise": False, "adapt": True, "init": "b", "z_dim": 8, "seed": 0, "preset": "cpu", "kimg": 3.0}
    assert seen == expected | {"sec": None, "dry_run": True, "device": None}


def test_curate_passes_what_the_user_set(monkeypatch):
    seen = []

    class Summary:
        def line(self):
            return "done"

    monkeypatch.setattr("figment.curate.curate.curate", lambda *given: seen.extend(given) or Summary())
    assert CliRunner().invoke(app, ["curate", "heads", "--min-size", "96"]).exit_code == 0
    assert seen[1] == Thresholds(min_size=96.0)


def test_blends_are_pairs_of_a_model_and_its_layers(tmp_path):
    options = {"blend": [tmp_path / "a", tmp_path / "b"], "blend_layers": ["fine", "0-3"], "blend_amount": 0.5}
    blends = parse_blends(options)["blends"]
    assert [(blend.model.name, blend.layers, blend.amount) for blend in blends] == [
        ("a", "fine", 0.5),
        ("b", "0-3", 0.5),
    ]
    assert parse_blends({"blend": None, "blend_layers": None, "blend_amount": 1.0}) == {"blends": ()}
    with pytest.raises(FigmentError, match="--blend-layers is given 1 times, --blend 2 times"):
        parse_blends(options | {"blend_layers": ["fine"]})


def test_settings_are_not_silently_ignored_where_a_run_goes_on(tmp_path, monkeypatch, capsys):
    assert run_main(monkeypatch, "train", "--resume", "-o", tmp_path, "--lr", "0.1", "--no-mirror", "--dry-run") == 2
    assert "--lr 0.1, --mirror False, --dry-run True: can't change with --resume" in capsys.readouterr().err


def test_a_wrong_size_is_one_line(tmp_path, monkeypatch, capsys):
    assert run_main(monkeypatch, "pack", tmp_path, "-o", tmp_path / "a.zip", "--resolution", "48") == 2
    assert "--resolution 48: must be a power of two" in capsys.readouterr().err
