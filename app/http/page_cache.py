"""Pages of prompts, permalinks, passages, methods and comparisons, kept compressed until the catalogue changes.

These pages are the same for every reader who has not signed in, and change only with the catalogue's content version,
which each request asks for first (some microseconds on SQLite). Compressed, five thousand of them take about 50 MB.
"""

from __future__ import annotations

import gzip
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.formats import wants_json, wants_part
from app.http.logs import visit_of
from app.http.rendering import theme_of
from app.http.viewers import viewer_of

MOST_BYTES = 64_000_000
CACHED = ("/prompts/", "/r/", "/passages/", "/methods", "/comparisons/")
ASKED = "/q-"
"""In addresses of readers' own questions: workers change them without a new content version."""

LONGEST_KEY = 2_000
"""Characters of path, query and host; pages of longer addresses are not kept."""

OVERHEAD = 1_000
"""Bytes that a page takes beside its content, for the sum."""

LEVEL = 4
"""Of gzip: a page of 50 kB takes about half a millisecond."""


class Key(NamedTuple):
    """What a page depends on beside the catalogue."""

    path: str
    query: bytes
    origin: tuple[str, str]
    """Scheme and host, which a page's permalink carries."""
    theme: str
    part: bool

    @property
    def size(self) -> int:
        """About its bytes."""
        return len(self.path) + len(self.query) + len(self.origin[1])


@dataclass(frozen=True, slots=True)
class Page:
    """A response: its headers without the length, and its compressed body."""

    headers: list[tuple[bytes, bytes]]
    body: bytes
    route: str
    """Template of the route that rendered it, for log and metrics."""

    @property
    def size(self) -> int:
        """Bytes of headers and body."""
        return len(self.body) + sum(len(name) + len(value) for name, value in self.headers)


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
                body = gzip.compress(bytes(recorder.body), LEVEL, mtime=0)
                self._keep(key, Page(recorder.headers, body, visit_of(scope).route))
            return
        visit_of(scope).route = page.route
        self._pages.move_to_end(key)
        await _send_page(page, _takes_gzip(Headers(scope=scope).get("accept-encoding", "")), send)

    def _keep(self, key: Key, page: Page) -> None:
        known = self._pages.pop(key, None)
        self._bytes += OVERHEAD + key.size + page.size if known is None else page.size - known.size
        self._pages[key] = page
        while self._bytes > MOST_BYTES:
            old_key, oldest = self._pages.popitem(last=False)
            self._bytes -= OVERHEAD + old_key.size + oldest.size


def _key(scope: Scope) -> Key | None:
    """The key of a request that may be answered from here; None for all others."""
    if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(CACHED):
        return None
    request = Request(scope)
    path, query, host = scope["path"], scope["query_string"], request.headers.get("host", "")
    if ASKED in path or viewer_of(scope).signed_in:
        return None
    if len(path) + len(query) + len(host) > LONGEST_KEY or "authorization" in request.headers or wants_json(request):
        return None
    return Key(path, query, (scope.get("scheme", ""), host), theme_of(request), wants_part(request))


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
