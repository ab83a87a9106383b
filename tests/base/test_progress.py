"""Progress bars appear on a terminal only."""

import io
import sys

from figment.base.progress import LiveBar, say, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_there_is_no_bar_in_a_file(capsys):
    with LiveBar("training", 10, "kimg") as bar:
        bar.move(1, "2 s/kimg")
    assert list(track([1, 2], "counting")) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_the_progress(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with LiveBar("training", 2500, "kimg") as bar:
        bar.move(12.5, "41.2 s/kimg")
        bar.clear()
        assert "training" in screen.getvalue() and "12.50 / 2500 kimg" in screen.getvalue()
        assert "41.2 s/kimg" in screen.getvalue()
        shown = len(screen.getvalue())
        bar.move(13.0, "40.0 s/kimg")
    assert "13.00 / 2500 kimg" in screen.getvalue()[shown:]
    assert sys.stderr is screen


def test_lines_with_names_of_any_bytes_are_printed(capsys):
    say("left out: \udc8d.png")
    assert capsys.readouterr().out == "left out: \\udc8d.png\n"
