"""Progress bars, and printing of results."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")


def track(
    items: Iterable[Item],
    label: str,  # activity, such as "cropping"
    total: int | None = None,  # number of items; None: len(items) if it has one
) -> Iterator[Item]:
    """Yield `items` and show a progress bar on stderr if it is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if total is None and isinstance(items, Sized):
        total = len(items)
    columns = (TextColumn("{task.description:>12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=total)
        for item in items:
            yield item
            progress.advance(task)


class LiveBar:
    """A progress bar at the bottom of the terminal that is updated explicitly, if stderr is a terminal."""

    def __init__(
        self,
        label: str,  # activity, such as "training"
        total: float,  # value of `done` at the end
        unit: str,  # unit of `done` and `total`
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self._progress: Progress | None = None

    def move(
        self,
        done: float,  # progress
        note: str,  # text beside the bar
    ) -> None:
        """Show this state, and the bar again if `clear` removed it."""
        if self._progress is None and sys.stderr.isatty():
            self._progress = self._draw()
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=done, note=note)

    def clear(self) -> None:
        """Remove the bar, so that lines can be printed."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _draw(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        place = f"{{task.completed:.2f}} / {{task.total:g}} {self.unit}"
        progress = Progress(
            TextColumn("{task.description:>12}"),
            BarColumn(),
            TextColumn(place),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
            refresh_per_second=2,
            redirect_stdout=sys.stdout.isatty(),
        )
        progress.add_task(self.label, total=self.total, note="")
        progress.start()
        return progress

    def __enter__(self) -> LiveBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()


def say(text: str) -> None:
    """Print one line and flush; characters that the terminal does not take, as in odd file names, are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
