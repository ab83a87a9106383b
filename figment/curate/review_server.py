"""The review page's server: routes, their arguments' checks, and errors as one line of JSON."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from figment.base.errors import FigmentError, UnreadableImage
from figment.curate.review_boxes import Boxes
from figment.curate.review_desk import FILTERS, Decision, Desk
from figment.curate.review_model import AGAIN, EACH_KIND, ENOUGH, Classifier
from figment.curate.review_thumbs import thumbnail
from figment.http.guard import Guard, Refused

PAGES = Path(__file__).parent / "pages"
FILES = {
    "/": ("review.html", "text/html"),
    "/review.js": ("review.js", "text/javascript"),
    "/review.css": ("review.css", "text/css"),
}
REASONS = ("unwanted", "not-a-head", "duplicate")
"""Why a person may reject a head."""
LONGEST_BATCH = 500
MAX_BODY = 256 * 1024
"""Bytes of a request's body."""
KEPT = {"cache-control": "private, max-age=31536000, immutable"}
"""For pictures whose address changes with their content."""


class Office:
    """What the routes share: the desk, the classifier, the boxes."""

    def __init__(
        self,
        name: str,  # what the page calls the folder
        desk: Desk | None,  # None: a folder of plain pictures, for boxes alone
        boxes: Boxes | None,  # None: the source pictures are not at hand
    ) -> None:
        self.name, self.desk, self.boxes = name, desk, boxes
        self.classifier = Classifier(desk) if desk else None
        self.learning = threading.Lock()
        if self.classifier and self.classifier.usable and self.classifier.due():
            self.classifier.learn()

    def model(self) -> dict[str, Any]:
        """What the classifier knows so far, for the page."""
        if not self.classifier:
            return {"usable": False}
        labels = self.classifier.labels()
        lesson = self.classifier.lesson
        return {
            "usable": self.classifier.usable,
            "labels": len(labels),
            "heads": sum(labels.values()),
            "enough": ENOUGH,
            "each": EACH_KIND,
            "again": AGAIN,
            "learning": self.learning.locked(),
            "lesson": lesson
            and {"labels": lesson.labels, "right": lesson.right, "judged": lesson.judged, "trusted": lesson.trusted},
        }

    def learn(self) -> None:
        """Train the classifier if it is due; one training at a time."""
        if self.classifier and self.learning.acquire(blocking=False):
            try:
                if self.classifier.due():
                    self.classifier.learn()
            finally:
                self.learning.release()


def application(office: Office) -> Guard:
    """The ASGI application."""
    routes = [Route(path, page) for path in FILES]
    routes += [Route("/api/state", state)]
    if office.desk:
        routes += [
            Route("/api/heads", heads),
            Route("/api/groups", groups),
            Route("/api/head", head),
            Route("/api/decide", decide, methods=["POST"]),
            Route("/api/undo", undo, methods=["POST"]),
            Route("/thumb", thumb),
            Route("/crop", crop),
        ]
    if office.boxes:
        routes += [
            Route("/api/pictures", pictures),
            Route("/api/picture", picture),
            Route("/picture", picture_file),
            Route("/api/boxes", save_boxes, methods=["POST"]),
        ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            FigmentError: _mistake,
            HTTPException: _refused,
            Refused: _refused,
            sqlite3.OperationalError: _busy,
        },
    )
    app.state.office = office
    return Guard(app, max_body=MAX_BODY, json_only=True)


def _mistake(request: Request, error: Exception) -> Response:
    missing = isinstance(error, UnreadableImage) or "not in the catalog" in str(error) or "not one of" in str(error)
    return JSONResponse({"error": str(error)}, 404 if missing else 400)


def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        return JSONResponse({"error": str(error)}, error.status, {"connection": "close"})
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code)


def _busy(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"catalog.db: {error}; another program may be writing it, try again"}, 503)


# ---------------------------------------------------------------------- pages


def page(request: Request) -> Response:
    name, kind = FILES[request.url.path]
    return Response((PAGES / name).read_bytes(), media_type=kind, headers={"cache-control": "no-cache"})


def state(request: Request) -> Response:
    office = _office(request)
    counts = office.desk.counts() if office.desk else None
    pictures = office.boxes.page(limit=1)["counts"] if office.boxes else None
    return _answer(
        {
            "name": office.name,
            "counts": counts,
            "model": office.model(),
            "pictures": pictures,
            "boxes": str(office.boxes.out) if office.boxes else None,
        }
    )


# ---------------------------------------------------------------------- heads


def heads(request: Request) -> Response:
    desk, query = _desk(request), request.query_params
    which = query.get("filter", "all")
    if which not in FILTERS:
        raise FigmentError(f"filter {which[:40]!r}: must be one of {', '.join(FILTERS)}")
    after = None
    if query.get("after"):
        place, _, head_id = query["after"].partition(",")
        after = _number(place, "after"), _whole(head_id, "after", 0, 2**62)
    found = desk.page(which, reason=query.get("reason", ""), after=after, limit=_limit(request))
    return _answer({**found, "items": _stamped(desk, found["items"])})


def groups(request: Request) -> Response:
    desk = _desk(request)
    found = desk.groups(
        after=_whole(request.query_params.get("after") or "0", "after", 0, 2**62), limit=_limit(request, 12)
    )
    for group in found["groups"]:
        group["items"] = _stamped(desk, group["items"])
    return _answer(found)


def head(request: Request) -> Response:
    desk, head_id = _desk(request), _id(request)
    items = desk.items([head_id])
    if not items:
        raise FigmentError(f"head {head_id}: not in the catalog")
    return _answer({**_stamped(desk, items)[0], "figures": desk.figures(head_id)})


async def decide(request: Request) -> Response:
    office, desk = _office(request), _desk(request)
    rows = _field(await _body(request), "decisions", list)
    if not 1 <= len(rows) <= LONGEST_BATCH:
        raise FigmentError(f"decisions: {len(rows)}; must be 1 to {LONGEST_BATCH}")
    decisions = [_decision(row) for row in rows]
    items = await _aside(lambda: _stamped(desk, desk.decide(decisions)))
    due = office.classifier is not None and await _aside(office.classifier.due)
    answer = {"items": items, "counts": await _aside(desk.counts), "model": {**office.model()}}
    answer["model"]["learning"] |= due
    return _answer(answer, BackgroundTask(office.learn) if due else None)


async def undo(request: Request) -> Response:
    desk = _desk(request)
    items = await _aside(lambda: _stamped(desk, desk.undo()))
    return _answer({"items": items, "counts": await _aside(desk.counts), "model": _office(request).model()})


def thumb(request: Request) -> Response:
    desk, head_id = _desk(request), _id(request)
    path = desk.file(head_id)
    name = path.relative_to(desk.folder.resolve()).as_posix()
    return Response(thumbnail(path, desk.folder, name), media_type="image/webp", headers=KEPT)


def crop(request: Request) -> Response:
    path = _desk(request).file(_id(request))
    if not path.is_file():
        raise UnreadableImage("unreadable", f"{path.name}: the crop's file is gone")
    return FileResponse(path, media_type="image/png", headers=KEPT)


# ---------------------------------------------------------------------- boxes


def pictures(request: Request) -> Response:
    which = request.query_params.get("filter", "all")
    if which not in ("all", "todo", "done"):
        raise FigmentError(f"filter {which[:40]!r}: must be all, todo or done")
    return _answer(
        _boxes(request).page(which=which, after=request.query_params.get("after", ""), limit=_limit(request))
    )


def picture(request: Request) -> Response:
    return _answer(_boxes(request).picture(request.query_params.get("name", "")))


def picture_file(request: Request) -> Response:
    small = request.query_params.get("small") == "1"
    name = request.query_params.get("name", "")
    data = _boxes(request).thumbnail(name) if small else _boxes(request).jpeg(name)
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})


async def save_boxes(request: Request) -> Response:
    body, boxes = await _body(request), _boxes(request)
    name = _field(body, "name", str)
    saved = await _aside(lambda: boxes.save(name, body.get("boxes")))
    return _answer({"name": name, "boxes": saved, "counts": (await _aside(lambda: boxes.page(limit=1)))["counts"]})


# ---------------------------------------------------------------------- arguments


def _office(request: Request) -> Office:
    office: Office = request.app.state.office
    return office


def _desk(request: Request) -> Desk:
    desk = _office(request).desk
    assert desk is not None  # such routes exist with a desk alone
    return desk


def _boxes(request: Request) -> Boxes:
    boxes = _office(request).boxes
    assert boxes is not None
    return boxes


def _decision(row: object) -> Decision:
    """A decision as the page sends it: {"id", "verdict", "reason", "of"}."""
    if not isinstance(row, dict):
        raise FigmentError("decisions: each must be an object with id and verdict")
    head_id, verdict, reason, of = _field(row, "id", int), row.get("verdict"), row.get("reason", ""), row.get("of", "")
    if verdict == "keep":
        return Decision(head_id, "keep")
    if verdict != "reject":
        raise FigmentError(f"verdict {str(verdict)[:40]!r}: must be keep or reject")
    if reason not in REASONS:
        raise FigmentError(f"reason {str(reason)[:40]!r}: must be one of {', '.join(REASONS)}")
    known = reason == "duplicate" and isinstance(of, str) and of
    return Decision(head_id, "reject", reason, f"of {of[:400]}" if known else "")


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise FigmentError("the body is no JSON") from None
    if not isinstance(body, dict):
        raise FigmentError("the body must be a JSON object")
    return body


def _field(body: dict[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and not 0 <= value < 2**62):
        raise FigmentError(f"{name} {str(value)[:40]!r}: must be of type {kind.__name__}")
    return value


def _whole(text: str, name: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or not least <= int(text) <= most:
        raise FigmentError(f"{name} {text[:40]!r}: must be a whole number of {least} to {most}")
    return int(text)


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e9:
        raise FigmentError(f"{name} {text[:40]!r}: must be a number")
    return value


def _limit(request: Request, usual: int = 60) -> int:
    return _whole(request.query_params.get("limit", str(usual)), "limit", 1, 200)


def _id(request: Request) -> int:
    return _whole(request.query_params.get("id", ""), "id", 0, 2**62)


def _stamped(desk: Desk, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items, each with the time its crop was written, which makes its pictures' addresses."""
    for item in items:
        try:
            item["stamp"] = (desk.folder / item["file"]).stat().st_mtime_ns // 1000
        except OSError:
            item["stamp"] = 0
    return items


async def _aside(work: Any) -> Any:
    """Do what waits for the disk in a thread, so that other requests are served meanwhile."""
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(work)


def _answer(value: dict[str, Any], background: BackgroundTask | None = None) -> Response:
    return JSONResponse(value, headers={"cache-control": "no-store"}, background=background)
