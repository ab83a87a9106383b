"""A page on this machine for what rules can't decide: keep, reject, undo, duplicates side by side, boxes by mouse.

figment review heads/
figment review heads/ --pictures pictures/      # draws and corrects boxes too, saved in heads/boxes.json
figment review pictures/                        # boxes alone, saved in pictures/boxes.json
"""

from __future__ import annotations

import logging
import socket
import threading
import webbrowser
from contextlib import closing
from pathlib import Path

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError
from figment.base.files import need_folder
from figment.base.progress import say

HOST = "127.0.0.1"
PORT = 7860
TRIES = 20
"""Ports that are tried where none was asked for and the first is taken."""


def review(
    folder: Path,  # a heads folder, or a folder of plain pictures
    *,
    pictures: Path | None = None,  # the source pictures of a heads folder; None: no boxes are drawn
    boxes: Path | None = None,  # where boxes are saved; None: boxes.json in `folder`
    port: int | None = None,  # None: 7860, or the next free one
    open_page: bool = True,  # open the page in the browser
) -> None:
    """Serve the review page until Ctrl-C. Every decision is on the disk before the page shows it."""
    from figment.curate.review_server import Office, application

    office = open_office(folder, pictures=pictures, boxes=boxes)
    assert isinstance(office, Office)
    import uvicorn

    with closing(bind(port)) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}/"
        say(f"review {folder}: {address} (Ctrl-C ends it; every decision is saved at once)")
        if open_page:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        config = uvicorn.Config(
            application(office),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
            limit_concurrency=200,
        )
        uvicorn.Server(config).run(sockets=[listener])
    if office.desk:
        office.desk.close()


def open_office(
    folder: Path,
    *,
    pictures: Path | None = None,
    boxes: Path | None = None,
) -> object:
    """What the server serves; raises FigmentError for folders that it can't."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise FigmentError("review: needs the extra `web`; install it with `pip install 'figment-gan[web]'`") from None
    from figment.curate.review_boxes import Boxes
    from figment.curate.review_desk import Desk
    from figment.curate.review_server import Office

    need_folder(folder, "HEADS")
    out = boxes or folder / "boxes.json"
    if pictures:
        need_folder(pictures, "--pictures")
    if not (folder / "catalog.db").exists():
        return Office(folder.resolve().name, None, Boxes(pictures or folder, out))
    desk = Desk(folder)
    drawn = Boxes(pictures, out, found_boxes(folder)) if pictures else None
    if drawn and not any((drawn.pictures / name).is_file() for name in drawn.names):
        raise FigmentError(f"--pictures {pictures}: holds none of the pictures that {folder} was cropped from")
    return Office(folder.resolve().name, desk, drawn)


def found_boxes(folder: Path) -> dict[str, list[list[float]]]:
    """The boxes in a heads folder's catalog, by picture; pictures that could not be read are left out."""
    with Catalog(folder) as catalog:
        found: dict[str, list[list[float]]] = {
            picture.path: [] for picture in catalog.pictures() if picture.status != "bad"
        }
        for head in catalog.heads():
            found.setdefault(head.picture, []).append([round(x, 2) for x in head.box])
    return found


def bind(port: int | None) -> socket.socket:
    """A listening socket on this machine alone, at `port` or, where it is None, at the first free one from 7860."""
    if port is not None and not 0 <= port <= 65535:
        raise FigmentError(f"--port {port}: must be 0 to 65535")
    for each in [port] if port is not None else range(PORT, PORT + TRIES):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, each))
        except OSError as error:
            listener.close()
            if port is not None:
                raise FigmentError(f"--port {port}: can't be used ({error.strerror})") from None
            continue
        listener.listen(128)
        return listener
    raise FigmentError(f"--port: {PORT} to {PORT + TRIES - 1} are all taken; name a free one")
