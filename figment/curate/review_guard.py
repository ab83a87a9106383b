"""Who may ask the review server: pages of its own alone, by a local name, in small pieces."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAX_BODY = 256 * 1024
"""Bytes of a request's body."""
MAX_ADDRESS = 8000
"""Bytes of a path with its query."""
NAMES = {"127.0.0.1", "localhost", "[::1]"}
"""What a Host header may say before the port: any other name was made to point here by a stranger (DNS rebinding)."""
HEADERS = [
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
     b" connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"), (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"), (b"cross-origin-opener-policy", b"same-origin"),
]


class Guard:
    """ASGI middleware: refuses what is not for the application, with one line of JSON."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        refusal = refuse(scope, headers)
        if refusal is None and scope["method"] == "POST":
            body = await read_body(receive)
            if body is None:
                refusal = 413, f"the body is over {MAX_BODY} bytes"
            else:
                receive = replay(body)
        if refusal is not None:
            await answer(dressed, *refusal)
            return
        await self.app(scope, receive, dressed)


def refuse(
    scope: MutableMapping[str, Any],
    headers: dict[str, str],             # names in lower case
) -> tuple[int, str] | None:
    """The status and the reason why a request goes no further; None lets it pass."""
    host = headers.get("host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name.lower() not in NAMES:
        return 421, f"Host {host[:80]!r}: this page goes by 127.0.0.1 or localhost alone"
    if len(scope["path"]) + len(scope["query_string"]) > MAX_ADDRESS:
        return 414, f"the address is over {MAX_ADDRESS} bytes"

    # Other sites' pages neither write nor read; a link that somebody follows is fine.
    site, origin = headers.get("sec-fetch-site", ""), headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return 403, f"Origin {origin[:80]!r}: only the page itself may ask"
    visit = scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
    if site in ("cross-site", "same-site") and not visit:
        return 403, f"Sec-Fetch-Site {site}: only the page itself may ask"

    # A form of another site can't say JSON without being asked first.
    if scope["method"] == "POST":
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return 415, "Content-Type: must be application/json"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length: must be a number"
        if len(length) > 12 or int(length) > MAX_BODY:
            return 413, f"the body is over {MAX_BODY} bytes"
    return None


async def read_body(receive: Receive) -> bytes | None:
    """The whole body, None where it is too large, whatever length it told."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body"):
            return body


def replay(body: bytes) -> Receive:
    """A `receive` that hands out a body which was read already."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return left.pop() if left else {"type": "http.disconnect"}

    return receive


async def answer(send: Send, status: int, reason: str) -> None:
    """Answer with a status and one line of JSON."""
    body = json.dumps({"error": reason}).encode()
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store")]})
    await send({"type": "http.response.body", "body": body})
