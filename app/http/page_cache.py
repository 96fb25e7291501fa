"""Rendered pages of prompts, permalinks and passages, kept compressed until the catalogue changes.

These pages are the same for every reader and change only when something is written to the catalogue, which each
request asks for first (some microseconds on SQLite). Compressed, five thousand of them take about 50 MB.
"""

from __future__ import annotations

import gzip
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 64_000_000
CACHED = ("/prompts/", "/r/", "/passages/")
LEVEL = 4
"""Of gzip: a page of 50 kB takes about half a millisecond."""


class Key(NamedTuple):
    """What a page depends on beside the catalogue."""

    path: str
    query: bytes
    origin: tuple[str, str]
    """Scheme and host, which a page's permalink carries."""
    variant: tuple[str, str, str]
    """The headers that responses vary by: kind of request, what is accepted, cookies."""


@dataclass(frozen=True, slots=True)
class Page:
    """A response: its headers without the length, and its compressed body."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


class PageCache:
    """ASGI wrapper that answers a known page at once; everything else goes through to the application.

    ``generation`` names the catalogue's present state: what was rendered from another is dropped. A page is
    stored under the state that was read before it was rendered, so a write meanwhile makes it void.
    """

    def __init__(self, app: ASGIApp, generation: Callable[[], Awaitable[object | None]]) -> None:
        self.app = app
        self._state = generation
        self._generation: object | None = None
        self._pages: OrderedDict[Key, Page] = OrderedDict()
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key(scope)
        if key is None:
            await self.app(scope, receive, send)
            return
        generation = await self._state()
        if generation != self._generation:
            self._pages.clear()
            self._bytes, self._generation = 0, generation
        page = self._pages.get(key) if generation is not None else None
        if page is None:
            recorder = _Recorder(send)
            await self.app(scope, receive, recorder)
            if generation is not None and generation == self._generation and recorder.is_page:
                self._keep(key, Page(recorder.headers, gzip.compress(bytes(recorder.body), LEVEL, mtime=0)))
            return
        self._pages.move_to_end(key)
        await _send_page(page, _takes_gzip(Headers(scope=scope).get("accept-encoding", "")), send)

    def _keep(self, key: Key, page: Page) -> None:
        known = self._pages.pop(key, None)
        self._bytes += len(page.body) - (len(known.body) if known else 0)
        self._pages[key] = page
        while self._bytes > MOST_BYTES:
            _, oldest = self._pages.popitem(last=False)
            self._bytes -= len(oldest.body)


def _key(scope: Scope) -> Key | None:
    """The key of a request that may be answered from here; None for all others."""
    if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(CACHED):
        return None
    headers = Headers(scope=scope)
    if "authorization" in headers:
        return None
    kind = headers.get("hx-request-type", "")
    return Key(
        scope["path"],
        scope["query_string"],
        (scope.get("scheme", ""), headers.get("host", "")),
        (kind, headers.get("accept", ""), headers.get("cookie", "")),
    )


def _takes_gzip(accepted: str) -> bool:
    """Whether a client names gzip, and not with a weight of zero."""
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False


async def _send_page(page: Page, compressed: bool, send: Send) -> None:
    body = page.body if compressed else gzip.decompress(page.body)
    headers = [*page.headers, (b"content-length", str(len(body)).encode())]
    if compressed:
        headers.append((b"content-encoding", b"gzip"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Recorder:
    """Passes a response on and keeps a copy of it if it is a page."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_page = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            html = headers.get("content-type", "").startswith("text/html")
            self.is_page = message["status"] == 200 and html and "set-cookie" not in headers
            self.headers = [(name, value) for name, value in message["headers"] if name != b"content-length"]
        elif message["type"] == "http.response.body" and self.is_page:
            self.body += message.get("body", b"")
        await self._send(message)
