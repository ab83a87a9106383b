"""The studio's routes: one small function per address."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.formats import ADVICE, HEAD, kind_of
from figment.base.pixels import decode_image
from figment.web.jobs import Job
from figment.web.live import fakes_path, read_live
from figment.web.recipe import Recipe, blend, breed, parse_recipe, read_number
from figment.web.worker import Busy, Pending, Worker, etag

if TYPE_CHECKING:
    from figment.web.studio import Studio

PAGES = Path(__file__).parent / "pages"
SCRIPTS = ("studio.js", "studio-face.js", "studio-morph.js", "studio-live.js", "studio-parts.js")
ASSETS = {"studio.css": "text/css", **dict.fromkeys(SCRIPTS, "text/javascript")}
PARENTS = 4
"""Most parents of a child."""
CHILDREN = 48
"""Most children per request."""
MAX_UPLOAD_PIXELS = 64_000_000
"""Most pixels of an uploaded image."""
UPLOADS = ("png", "jpeg", "webp", "gif", "bmp", "avif")
"""Kinds of images that may be uploaded."""
WAIT_SEC = 120.0
"""Longest time that a request waits for its image."""
FOREVER = "private, max-age=31536000, immutable"


# ---------------------------------------------------------------------- parameters of requests


def _studio(request: Request) -> Studio:
    """Return the studio that serves a request."""
    studio: Studio = request.app.state.studio
    return studio


def recipes_of(request: Request, most: int = PARENTS) -> list[Recipe]:
    """Return the recipes in ?r=...&r=...; raises FigmentError for none, too many or bad ones."""
    texts = request.query_params.getlist("r")
    if not 1 <= len(texts) <= most:
        raise FigmentError(f"r: {len(texts)} recipes; must be 1 to {most}")
    bands = _studio(request).bands
    return [parse_recipe(text, bands=bands) for text in texts]


def number_of(request: Request, name: str, default: float, low: float, high: float) -> float:
    """Return a number of the query; raises FigmentError outside of `low` to `high`."""
    text = request.query_params.get(name)
    return default if text is None else read_number(text, name, low, high)


def whole_of(request: Request, name: str, default: int, low: int, high: int) -> int:
    """Return a whole number of the query; raises FigmentError outside of `low` to `high`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high):
        raise FigmentError(f"{name} {text[:40]!r}: must be a whole number from {low} to {high}")
    return int(text)


async def body_of(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body; raises FigmentError for anything else."""
    try:
        value = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise FigmentError("body: must be JSON") from None
    if not isinstance(value, dict):
        raise FigmentError("body: must be a JSON object")
    return value


# ---------------------------------------------------------------------- images


async def face(request: Request) -> Response:
    """Return the PNG of one recipe, or of a blend of two (?r=A&r=B&at=0.3)."""
    studio = _studio(request)
    recipes = recipes_of(request, 2)
    if len(recipes) == 2:
        at = round(number_of(request, "at", 0.5, 0, 1), 4)
        recipes = [blend(recipes[0], recipes[1], [at] * len(recipes[0].bands)) if 0 < at < 1 else recipes[round(at)]]
    size = whole_of(request, "size", 0, 0, 4096) or None
    worker, recipe = studio.worker, recipes[0]
    key = worker.key(recipe, size)
    same = request.query_params.get("m") == key[0]
    headers = {"etag": etag(key), "cache-control": FOREVER if same else "private, no-cache"}
    if "download" in request.query_params:
        headers["content-disposition"] = f'attachment; filename="{_file_name(recipe)}.png"'
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    data = worker.cache.get(key)
    if data is None:
        data = await wait_for(request, worker, worker.ask(recipe, size))
    return Response(data, media_type="image/png", headers=headers)


def _file_name(recipe: Recipe) -> str:
    text = str(recipe)
    return "figment-" + "".join(c if c.isalnum() or c in ".-" else "_" for c in text)[:60]


async def wait_for(request: Request, worker: Worker, pending: Pending) -> bytes:
    """Return the image when it is drawn; raises Busy after WAIT_SEC, or if the visitor disconnects."""
    loop = asyncio.get_running_loop()
    mine: asyncio.Future[Any] = loop.create_future()

    def settle() -> None:
        if mine.done():
            return
        if pending.future.cancelled():
            mine.set_exception(Busy())
        elif error := pending.future.exception():
            mine.set_exception(error)
        else:
            mine.set_result(pending.future.result())

    pending.future.add_done_callback(lambda _: loop.call_soon_threadsafe(settle))
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({mine, leaving}, timeout=WAIT_SEC, return_when=asyncio.FIRST_COMPLETED)
        if not mine.done():
            worker.release(pending)
            raise Busy
        data: bytes = mine.result()
        return data
    finally:
        mine.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    """Return when the visitor has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def children(request: Request) -> Response:
    """Return recipes of children of two to four parents; the same seed gives the same children."""
    parents = recipes_of(request)
    if len(parents) < 2:
        raise FigmentError("r: breeding needs at least two parents")
    count = whole_of(request, "count", 12, 1, CHILDREN)
    seed = whole_of(request, "seed", 0, 0, 2**32 - 1)
    mutation = number_of(request, "mutation", 0.15, 0, 1)
    return JSONResponse([str(breed(parents, seed * CHILDREN + i, mutation)) for i in range(count)])


def mixed(request: Request) -> Response:
    """Return the recipe of a blend of two, with a share for each band."""
    recipes = recipes_of(request, 2)
    if len(recipes) != 2:
        raise FigmentError("r: mixing needs two characters")
    shares = [number_of(request, band, 0.0, 0, 1) for band in _studio(request).bands]
    return JSONResponse({"recipe": str(blend(recipes[0], recipes[1], shares))})


# ---------------------------------------------------------------------- favorites and jobs


def list_favourites(request: Request) -> Response:
    """Return all favorites, newest first."""
    return JSONResponse([asdict(favourite) for favourite in _studio(request).favourites.all()])


async def add_favourite(request: Request) -> Response:
    """Add a recipe to the favorites."""
    studio = _studio(request)
    value = await body_of(request)
    name = value.get("name", "")
    if not isinstance(name, str) or not isinstance(value.get("recipe"), str) or not name.isprintable():
        raise FigmentError("body: must have the texts recipe and name")
    recipe, scene = parse_recipe(value["recipe"], "recipe", studio.bands), studio.worker.need_scene()
    kept = await asyncio.to_thread(studio.favourites.add, str(recipe), name.strip(), scene.digest)
    return JSONResponse(asdict(kept), 201)


def remove_favourite(request: Request) -> Response:
    """Remove a favorite."""
    if not _studio(request).favourites.remove(request.path_params["number"]):
        raise HTTPException(404, "no such favorite")
    return Response(status_code=204)


def list_jobs(request: Request) -> Response:
    """Return all jobs, newest first."""
    return JSONResponse([job.to_json() for job in _studio(request).jobs.all()])


async def start_film(request: Request) -> Response:
    """Start a video through some characters."""
    value = await body_of(request)
    texts, seconds, fps, size = value.get("r"), value.get("seconds", 6), value.get("fps", 30), value.get("size")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise FigmentError("r: must be a list of recipes")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise FigmentError("seconds: must be a number")
    if type(fps) is not int or (size is not None and (type(size) is not int or not 64 <= size <= 2048)):
        raise FigmentError("fps and size: must be whole numbers; size from 64 to 2048")
    if not 0 < seconds <= 600:
        raise FigmentError(f"seconds {seconds}: must be over 0 and at most 600")
    studio = _studio(request)
    recipes = [parse_recipe(text, bands=studio.bands) for text in texts[:100]]
    job = studio.jobs.film(recipes, seconds=seconds, fps=fps, size=size)
    return JSONResponse(job.to_json(), 202)


async def start_projection(request: Request) -> Response:
    """Start the projection of an uploaded image; the body is the file itself."""
    studio = _studio(request)
    space = request.query_params.get("space", "w")
    name = request.query_params.get("name", "")[:80]
    steps = whole_of(request, "steps", 0, 1, 5000) or None
    if space not in ("w", "w+"):
        raise FigmentError(f"space {space[:40]!r}: must be w or w+")
    data = await request.body()
    kind = kind_of(data[:HEAD])
    if kind not in UPLOADS and kind not in ADVICE:  # of these, `decode_image` says what to do
        raise UnreadableImage("not-an-image", "the upload must be a PNG, JPEG, WebP, GIF, BMP or AVIF image")
    async with studio.decoding:
        picture = await asyncio.to_thread(decode_image, data, "the upload", max_pixels=MAX_UPLOAD_PIXELS)
    return JSONResponse(studio.jobs.projection(picture, name, space=space, steps=steps).to_json(), 202)


def _job(request: Request) -> Job:
    job: Job | None = _studio(request).jobs.get(request.path_params["job"])
    if job is None:
        raise HTTPException(404, "no such job")
    return job


def show_job(request: Request) -> Response:
    """Return the state of a job."""
    return JSONResponse(_job(request).to_json())


def stop_job(request: Request) -> Response:
    """Stop a job and return its state."""
    job = _job(request)
    _studio(request).jobs.cancel(job)
    return JSONResponse(job.to_json())


def film_file(request: Request) -> Response:
    """Return a finished video."""
    job = _job(request)
    if job.film is None or not job.film.is_file():
        raise HTTPException(404, "this job has no video")
    return FileResponse(
        job.film,
        media_type="video/mp4",
        filename=f"figment-{job.id}.mp4",
        content_disposition_type="attachment" if "download" in request.query_params else "inline",
    )


def latent_picture(request: Request) -> Response:
    """Return the target image of a projection."""
    data = _studio(request).favourites.latent_picture(request.path_params["key"].removesuffix(".png"))
    if data is None:
        raise HTTPException(404, "no such projected image")
    return Response(data, media_type="image/png", headers={"cache-control": FOREVER})


# ---------------------------------------------------------------------- the page, the run


def page(request: Request) -> Response:
    """Return the page."""
    return FileResponse(PAGES / "studio.html", headers={"cache-control": "no-cache"})


def asset(request: Request) -> Response:
    """Return a script or stylesheet of the page."""
    name = request.path_params["name"]
    if name not in ASSETS:
        raise HTTPException(404, "no such file")
    return FileResponse(PAGES / name, media_type=ASSETS[name], headers={"cache-control": "no-cache"})


def about(request: Request) -> Response:
    """Return what the page needs to know about the studio."""
    return JSONResponse(_studio(request).about())


def live(request: Request) -> Response:
    """Return the run's curves and grids so far."""
    studio = _studio(request)
    if studio.run is None:
        raise HTTPException(404, "this is a model, not a run")
    return JSONResponse({**read_live(studio.run), "newer": studio.newer()})


def fakes(request: Request) -> Response:
    """Return one of the run's grids."""
    studio = _studio(request)
    path = fakes_path(studio.run, request.path_params["name"]) if studio.run else None
    if path is None:
        raise HTTPException(404, "no such grid")
    return FileResponse(path, media_type="image/png", headers={"cache-control": FOREVER})


def reload(request: Request) -> Response:
    """Load the run's newest model."""
    _studio(request).reload()
    return JSONResponse(_studio(request).about())


ROUTES = [
    Route("/", page),
    Route("/face.png", face),
    Route("/{name:str}", asset),
    Route("/api/about", about),
    Route("/api/live", live),
    Route("/api/reload", reload, methods=["POST"]),
    Route("/api/children", children),
    Route("/api/blend", mixed),
    Route("/api/favourites", list_favourites, methods=["GET"]),
    Route("/api/favourites", add_favourite, methods=["POST"]),
    Route("/api/favourites/{number:int}", remove_favourite, methods=["DELETE"]),
    Route("/api/jobs", list_jobs),
    Route("/api/film", start_film, methods=["POST"]),
    Route("/api/project", start_projection, methods=["POST"]),
    Route("/api/jobs/{job:str}", show_job, methods=["GET"]),
    Route("/api/jobs/{job:str}", stop_job, methods=["DELETE"]),
    Route("/api/jobs/{job:str}/film.mp4", film_file),
    Route("/latents/{key:str}", latent_picture),
    Route("/fakes/{name:str}", fakes),
]
