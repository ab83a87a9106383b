"""The studio: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.commands.app import Device, app, example


@app.command(
    epilog=example("serve runs/00000-heads --open", "serve faces.safetensors --port 8500", "serve runs --host 0.0.0.0")
)
def serve(
    model: Annotated[Path, typer.Argument(help="A model file, a run's folder, or a folder of runs: its newest.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine ask for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8400,
    token: Annotated[
        str | None,
        typer.Option(envvar="FIGMENT_TOKEN", help="What visitors must bring; unset makes one where --host needs it."),
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="A name that the studio goes by, e.g. art.local.")] = None,
    favourites: Annotated[Path | None, typer.Option(help="The file of favourites; unset: beside the model.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    device: Device = None,
) -> None:
    """The studio: a page on this machine to look at characters, breed, morph and keep them, and to watch a run."""
    from figment.base.errors import FigmentError

    try:
        from figment.web.studio import serve as run_serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "anyio"):
            raise
        raise FigmentError("serve: needs the extra `web`: pip install 'figment-gan[web]'") from None
    run_serve(
        model,
        host=host,
        port=port,
        token=token,
        names=tuple(name or ()),
        device=device,
        favourites=favourites,
        browser=open_page,
    )
