"""Showing it to others: publish."""

from __future__ import annotations

from typing import Annotated

import typer

from figment.base.progress import say
from figment.commands.app import Model, Out, Psi, app, example, given


@app.command(epilog=example("publish runs/00000-heads -o site"))
def publish(
    model: Model,
    output: Out,
    psi: Psi = 0.7,
    title: Annotated[str | None, typer.Option(help="The page's heading.")] = None,
) -> None:
    """A static gallery page of samples, the morph and the training film, for any file host."""
    from figment.web.publish import publish as run_publish

    run_publish(model, output, psi=psi, **given({"title": title}))
    say(f"{output / 'index.html'}")
