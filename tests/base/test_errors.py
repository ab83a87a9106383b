import errno
import sqlite3

import pytest

from figment.base.errors import FigmentError, printable, run_with_exit_codes


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FigmentError("--size 3: must be 8"), "--size 3: must be 8"),
        (PermissionError(errno.EACCES, "Permission denied", "out/a.png"), "out/a.png: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "lll"), "lll: File name too long"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", b"/proc/x"),
            "/proc/x: No such file or directory",
        ),
        (OSError(errno.EROFS, "Read-only file system", "a\nb"), "a\\nb: Read-only file system"),
        (sqlite3.OperationalError("unable to open database file"), "(unable to open database file)"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "(attempt to write a readonly database)"),
    ],
)
def test_outputs_that_cannot_be_written_are_one_line(error, line, capsys):
    def fail():
        raise error

    with pytest.raises(SystemExit) as caught:
        run_with_exit_codes(fail)
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.count("\n") == 1 and said.endswith(line + "\n")


def test_other_errors_pass_through():
    def fail():
        raise sqlite3.OperationalError("no such table: heads")

    with pytest.raises(sqlite3.OperationalError):
        run_with_exit_codes(fail)


def test_printable_text_is_one_line_of_characters():
    assert printable("a\nb\x1b[31m\udcff \u96ea\U0001f98a") == "a\\nb\\x1b[31m\\udcff \u96ea\U0001f98a"
