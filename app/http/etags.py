"""Entity tags on JSON: a client that has an answer already is told so instead of getting it again."""

from __future__ import annotations

import hashlib
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
"""An entity tag (RFC 9110, section 8.8.3); the group leaves out whether it is a weak one."""

KEPT = frozenset({"etag", "cache-control", "content-location", "date", "expires", "vary"})
"""Headers that a 304 repeats (RFC 9110, section 15.4.5)."""


def tag_of(body: bytes) -> str:
    """The entity tag of a body: a strong one, the same for the same bytes on every server."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def is_known(tag: str, if_none_match: str) -> bool:
    """True if If-None-Match names the tag, by the weak comparison that the header asks for."""
    return if_none_match.strip() == "*" or tag in TAG.findall(if_none_match)


class EntityTags:
    """ASGI wrapper that gives JSON an ETag and answers If-None-Match with 304.

    It looks at complete answers of status 200 to GET: errors, pages and streamed exports pass as they are.
    The answer is worked out in either case; what is saved is sending it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        asked = ", ".join(Headers(scope=scope).getlist("if-none-match"))
        held: Message | None = None

        async def send_tagged(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_json(message):
                held = message
                return
            if held is not None:
                start, held = held, None
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    start, message = _tagged(start, message, asked)
                await send(start)
            await send(message)

        await self.app(scope, receive, send_tagged)


def _is_json(start: Message) -> bool:
    content_type = Headers(raw=start["headers"]).get("content-type", "")
    return start["status"] == 200 and content_type.partition(";")[0] == "application/json"


def _tagged(start: Message, body: Message, asked: str) -> tuple[Message, Message]:
    headers = MutableHeaders(raw=list(start["headers"]))
    tag = headers.setdefault("etag", tag_of(body.get("body", b"")))
    headers.setdefault("cache-control", "no-cache")
    if not is_known(tag, asked):
        return {**start, "headers": headers.raw}, body
    kept = [(name, value) for name, value in headers.raw if name.decode("latin-1").lower() in KEPT]
    return {**start, "status": 304, "headers": kept}, {**body, "body": b""}
