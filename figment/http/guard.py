"""ASGI middleware that protects a local web server: who may send requests, how large, and what the page may load.

It checks the Host header (against DNS rebinding), Origin and Sec-Fetch-Site (against requests by other sites), a token
if the page is open to the network, and the size of addresses and bodies before they are read. Every refusal is one line
of JSON.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_ADDRESS = 16_000
"""Characters in path and query."""
MAX_BODY = 32 << 20
"""Bytes in the body of a request."""
MAX_ACTIVE = 700
"""Concurrent requests."""
RETRY_SEC = 2
"""Retry-After of a response 503, too many concurrent requests."""
BODY_SEC = 60.0
"""Seconds within which a body must arrive."""
COOKIE = "figment"
COOKIE_SEC = 30 * 24 * 3600
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Refused(Exception):
    """A refused request, with its HTTP status."""

    def __init__(
        self,
        status: int,
        message: str,
    ) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """ASGI middleware that refuses requests; see the docstring of the module."""

    def __init__(
        self,
        app: App,
        *,
        hosts: frozenset[str] = frozenset(),  # accepted Host names besides localhost and the loopback addresses
        addresses: bool = False,  # True: also accept any IP address as Host, for a page open to the network
        token: str | None = None,  # required of every client; None: no token
        max_body: int = MAX_BODY,
        json_only: bool = False,  # True: POST requires Content-Type application/json, which HTML forms cannot send
    ) -> None:
        self.app, self.token, self.max_body, self.json_only, self.active = app, token, max_body, json_only, 0
        self.hosts, self.addresses = hosts | {"localhost", "127.0.0.1", "::1"}, addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        started = False
        self.active += 1

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            if self.active > MAX_ACTIVE:
                raise Refused(503, f"too many concurrent requests; try again in {RETRY_SEC} s")
            self._check_address(scope)
            self._check_host(headers)
            self._check_origin(scope, headers)
            if self.token and not self._has_token(headers):
                await self._ask_token(scope, guarded_send)
                return
            if self.json_only and scope["method"] == "POST":
                self._check_type(headers)
            self._check_length(headers)
            await self.app(scope, self._bounded(receive), guarded_send)
        except Refused as error:
            if started:
                raise
            await refuse(guarded_send, error.status, str(error))
        finally:
            self.active -= 1

    # --- Checks

    def _check_address(self, scope: Scope) -> None:
        if len(scope["path"]) + len(scope["query_string"]) > MAX_ADDRESS:
            raise Refused(414, f"the address is longer than {MAX_ADDRESS} characters")

    def _check_host(self, headers: dict[str, str]) -> None:
        name = host_name(headers.get("host", ""))
        if name in self.hosts or (self.addresses and is_address(name)):
            return
        raise Refused(421, f"Host {name[:80]!r}: this server does not answer to that name")

    def _check_origin(self, scope: Scope, headers: dict[str, str]) -> None:
        """Refuse requests by pages of other sites, apart from following a link."""
        site, origin = headers.get("sec-fetch-site", ""), headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            raise Refused(403, f"Origin {origin[:80]!r}: only this page may send requests")
        visit = scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        if site in ("cross-site", "same-site") and not visit:
            raise Refused(403, f"Sec-Fetch-Site {site}: only this page may send requests")

    def _check_type(self, headers: dict[str, str]) -> None:
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise Refused(415, "Content-Type: must be application/json")

    def _check_length(self, headers: dict[str, str]) -> None:
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > 18:
            raise Refused(400, "Content-Length: must be a number")
        if int(length) > self.max_body:
            raise Refused(413, f"the body has {int(length)} bytes; the limit is {self.max_body}")

    def _bounded(self, receive: Receive) -> Receive:
        """Wrap `receive` to refuse a body that is too large or too slow, whatever its Content-Length says."""
        seen, until = 0, time.monotonic() + BODY_SEC

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request" and (body := message.get("body")):
                seen += len(body)
                if seen > self.max_body:
                    raise Refused(413, f"the body has more than {self.max_body} bytes")
                if time.monotonic() > until:
                    raise Refused(408, f"the body took longer than {BODY_SEC:g} s")
            return message

        return bounded

    # --- Token

    def _has_token(self, headers: dict[str, str]) -> bool:
        brought = headers.get("authorization", "").removeprefix("Bearer ")
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        return same_text(brought, self.token or "") or same_text(cookie.value if cookie else "", seal(self.token or ""))

    async def _ask_token(self, scope: Scope, send: Send) -> None:
        """Answer a correct ?token= with a cookie and a redirect to the address without it; anything else with 401."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        brought = next((value for name, value in query if name == "token"), "")
        if scope["method"] != "GET" or not same_text(brought, self.token or ""):
            raise Refused(401, "a token is required: open the address that figment serve printed")
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        cookie = f"{COOKIE}={seal(self.token or '')}; Path=/; Max-Age={COOKIE_SEC}; HttpOnly; SameSite=Strict"
        place = "/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else "")
        location = place.encode("ascii", "ignore").replace(b"\r", b"").replace(b"\n", b"")
        await send(
            {
                "type": "http.response.start",
                "status": 303,
                "headers": [
                    (b"location", location),
                    (b"set-cookie", cookie.encode()),
                    (b"cache-control", b"no-store"),
                    (b"content-length", b"0"),
                ],
            }
        )
        await send({"type": "http.response.body", "body": b""})


def seal(token: str) -> str:
    """Return the value of the cookie: a hash that grants access without revealing the token."""
    return hashlib.sha256(b"figment studio " + token.encode()).hexdigest()


def same_text(one: str, other: str) -> bool:
    """Return whether two texts are equal, in constant time."""
    return hmac.compare_digest(hashlib.sha256(one.encode()).digest(), hashlib.sha256(other.encode()).digest())


def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def is_address(name: str) -> bool:
    """Return whether `name` is an IP address, which DNS rebinding cannot affect."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def refuse(send: Send, status: int, message: str) -> None:
    """Send `message` as one line of JSON."""
    body = json.dumps({"error": message}).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"no-store"),
                (b"connection", b"close"),
                *([(b"retry-after", str(RETRY_SEC).encode())] if status == 503 else []),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
