"""Looking at heads: review and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.base.progress import say
from figment.commands.app import app, example


@app.command(epilog=example("review heads/", "review heads/ --pictures pictures/", "review pictures/ --no-open"))
def review(
    heads: Annotated[Path, typer.Argument(help="A heads folder, or plain pictures to draw boxes on.")],
    pictures: Annotated[Path | None, typer.Option(help="The pictures that the heads came from, to draw boxes.")] = None,
    boxes: Annotated[Path | None, typer.Option(help="Where boxes are saved; unset: boxes.json in HEADS.")] = None,
    port: Annotated[int | None, typer.Option(help="Port on this machine; unset takes a free one from 7860.")] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
) -> None:
    """Decide by eye on a page in the browser: keep, reject, undo, duplicates side by side, boxes by mouse."""
    from figment.curate.review import review as run_review

    run_review(heads, pictures=pictures, boxes=boxes, port=port, open_page=open_page)


@app.command(epilog=example("report heads/", "report heads/ -o report.html"))
def report(
    heads: Annotated[Path, typer.Argument(help="A heads folder made by `figment crop`.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Unset: report.html in HEADS.")] = None,
) -> None:
    """One HTML file that tells what was found, what was rejected and why, and what to do next."""
    from figment.curate.report import write_report

    say(write_report(heads, output).line())
