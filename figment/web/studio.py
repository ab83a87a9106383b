"""The studio: a local web page to browse, breed, morph, project and save characters, and to watch a run train.

figment serve runs/00003-heads              # then open the printed address
figment serve faces.safetensors --port 8500
figment serve faces.safetensors --host 0.0.0.0      # open to the network, with a token
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import find_run, need_file
from figment.base.formats import ADVICE
from figment.base.progress import say
from figment.draw.directions import Direction
from figment.draw.render import load_generator
from figment.http.guard import RETRY_SEC, Guard, Refused
from figment.nets.base import BANDS
from figment.web.compose import Composer, digest_of, find_directions
from figment.web.favourites import Favourites, favourites_path
from figment.web.jobs import Jobs
from figment.web.routes import ROUTES
from figment.web.worker import CACHE_BYTES, QUEUE, Busy, Scene, Worker

MAX_CONNECTIONS = 900
"""Most connections at a time, idle ones included; the server refuses more."""
THREADS = 8
"""Threads for files and favorites; each one has its own memory."""
REACH = 3.0
"""Largest amount of a direction's slider, in both directions."""
SWITCH_SEC = 0.0005
"""Python's thread switch interval: the longest time that the drawing thread blocks the server."""
KEEP_ALIVE_SEC = 75
"""Seconds that a connection stays open between two requests."""


class Studio:
    """State of the server: the model, its worker, favorites and jobs."""

    def __init__(
        self,
        model: Path,  # a model file, a run, or a folder of runs, of which the newest is taken
        *,
        device: str | None = None,  # None means the GPU if there is one
        queue: int = QUEUE,  # most waiting images
        cache_bytes: int = CACHE_BYTES,  # size of the image cache
        favourites: Path | None = None,  # file of the favorites; None means beside the model
    ) -> None:
        if not model.exists():
            raise FigmentError(f"MODEL {model}: no such file or folder")
        self.run = find_run(model, "MODEL") if model.is_dir() and not _is_bare(model) else None
        self.model, self.device = self.run or model, device
        self.file = self.model / "model.safetensors" if self.model.is_dir() else need_file(self.model, "MODEL")
        self.config: dict[str, Any] = {}
        self.directions: dict[str, Direction] = {}
        self.decoding, self.loading = asyncio.Semaphore(1), threading.Lock()
        self.stamp: tuple[int, int] | None = None
        self.newest = ""
        digest = digest_of(self.file) if self.file.is_file() else ""
        self.favourites = Favourites(favourites or favourites_path(self.model, digest))
        self.worker = Worker(queue=queue, cache_bytes=cache_bytes)
        self.jobs = Jobs(self.worker, self.favourites, self.model)
        try:
            if self.file.is_file():
                self.reload()
        except BaseException:
            self.close()
            raise

    def reload(self) -> None:
        """Load the model's file if it has changed."""
        with self.loading:
            digest = digest_of(need_file(self.file, "MODEL"))
            if self.worker.scene is not None and self.worker.scene.digest == digest:
                return
            g, config = load_generator(self.model, self.device)
            while (written := digest_of(self.file)) != digest:  # training replaced it in the meantime
                digest, (g, config) = written, load_generator(self.model, self.device)
            self.config, self.directions = config, find_directions(self.model, g)
            self.worker.show(Scene(g, Composer(g, self.favourites.latent, self.directions), digest))

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands of layers that recipes can mix; before there is a model, those of most families."""
        scene = self.worker.scene
        return tuple(BANDS if scene is None else scene.g.family.bands)

    def newer(self) -> bool:
        """Return whether the run has written a newer model than the loaded one."""
        if self.run is None or not self.file.is_file():
            return False
        scene, stamp = self.worker.scene, self.file.stat()
        mark = (stamp.st_mtime_ns, stamp.st_size)
        if self.stamp != mark:
            self.stamp, self.newest = mark, digest_of(self.file)
        return scene is None or self.newest != scene.digest

    def about(self) -> dict[str, Any]:
        """Return what the page needs to know."""
        scene, data = self.worker.scene, self.config.get("data") or {}
        shown = scene and {
            "digest": scene.digest,
            "resolution": scene.g.resolution,
            "width": scene.g.size[1],
            "height": scene.g.size[0],
            "channels": scene.g.channels,
            "layers": scene.g.num_layers,
            "bands": list(self.bands),
            "kimg": self.config.get("kimg"),
            "pictures": data.get("pictures"),
            "licence": self.config.get("licence"),
        }
        directions = [{"name": name, "reach": REACH} for name in self.directions]
        return {
            "name": self.model.resolve().name,
            "model": shown,
            "directions": directions,
            "run": bool(self.run),
            "favourites": str(self.favourites.path),
            "drawing": {
                "pictures": self.worker.drawn,
                "batches": self.worker.batches,
                "largest_batch": self.worker.largest,
            },
        }

    def close(self) -> None:
        """Stop the threads and close the file of favorites."""
        self.jobs.close()
        self.worker.close()
        self.favourites.__exit__(None, None, None)


def _is_bare(folder: Path) -> bool:
    """A folder with a model but no run's config.json."""
    return (folder / "model.safetensors").is_file() and not (folder / "config.json").is_file()


# ---------------------------------------------------------------------- the server


def make_app(
    studio: Studio,
    *,
    hosts: frozenset[str] = frozenset(),  # accepted host names besides localhost
    addresses: bool = False,  # accept any IP address as the host as well
    token: str | None = None,  # token that visitors need; None for no token
) -> Guard:
    """Return the studio as an ASGI application behind its guard; shutting down closes `studio`."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield
        await asyncio.to_thread(studio.close)

    kinds = (FigmentError, Busy, Refused, HTTPException, Exception)
    app = Starlette(routes=ROUTES, lifespan=lifespan, exception_handlers=dict.fromkeys(kinds, error_response))
    app.state.studio = studio
    return Guard(app, hosts=hosts, addresses=addresses, token=token)


UPLOAD_STATUS = {
    "too-large": 413,
    "not-an-image": 415,
    "truncated": 422,
    "empty-file": 422,
    **dict.fromkeys(ADVICE, 415),
}
"""HTTP status for an upload that is no usable picture, by the reason."""


def error_response(request: Request, error: Exception) -> Response:
    """Return the answer to a request that failed: JSON with one line, and the status that fits."""
    if isinstance(error, UnreadableImage):
        return JSONResponse({"error": str(error)}, UPLOAD_STATUS.get(error.reason, 422))
    if isinstance(error, FigmentError):
        return JSONResponse({"error": str(error)}, 400)
    if isinstance(error, Busy):
        message = f"too many pictures are waiting to be drawn; try again in {RETRY_SEC} s"
        return JSONResponse({"error": message}, 503, {"retry-after": str(RETRY_SEC)})
    if isinstance(error, Refused):
        return JSONResponse({"error": str(error)}, error.status, {"connection": "close"})
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        reason = error.detail if error.detail not in ("", phrase) else phrase.lower()
        message = f"{request.method} {request.url.path[:200]}: {reason}"
        return JSONResponse({"error": message}, error.status_code, dict(error.headers or {}))
    # A fault of the studio itself: visitors get no details.
    return JSONResponse({"error": "the studio failed at this; the terminal says more"}, 500)


def serve(
    model: Path,  # a model file, a run, or a folder of runs
    *,
    host: str = "127.0.0.1",  # address to listen on; any but this machine's requires a token
    port: int = 8400,  # 0 takes a free port
    token: str | None = None,  # None generates a token if one is required
    names: tuple[str, ...] = (),  # accepted host names besides the address
    device: str | None = None,  # None means the GPU if there is one
    favourites: Path | None = None,  # file of the favorites; None means beside the model
    browser: bool = False,  # open the page in a browser
) -> None:
    """Serve the studio until Ctrl-C; raises FigmentError for a model that can't be read or an address in use."""
    import uvicorn

    sys.setswitchinterval(SWITCH_SEC)
    listener = listen(host, port)
    local = _is_local(host)
    if not local and not token:
        token = secrets.token_urlsafe(18)
    with contextlib.closing(listener):
        studio = Studio(model, device=device, favourites=favourites)
        known = frozenset(name.lower() for name in (*names, host, *(() if local else (socket.gethostname(),))))
        app = make_app(studio, hosts=known, addresses=not local, token=token)
        shown = host if host not in ("0.0.0.0", "::") else "127.0.0.1"
        address = f"http://{f'[{shown}]' if ':' in shown else shown}:{listener.getsockname()[1]}/"
        address += f"?token={token}" if token else ""
        say(f"{studio.model}: {address}  (Ctrl-C ends it)")
        if not local:
            say("open to the network: anyone with this address and token can draw, upload and save favorites")
        if browser:
            webbrowser.open(address)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SEC,
            timeout_graceful_shutdown=3,
            ws="none",
        )
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host` and `port`; raises FigmentError that names the options if it can't."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise FigmentError(f"--host {host} --port {port}: can't listen there ({reason})") from None
    return listener


def _is_local(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
