"""One line in the log for every request, and the request's number: in the line, in errors, in a header."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from backend.logs import get_logger

log = get_logger("proponent.app")

KEY = "proponent.visit"
"""Where an ASGI scope holds its visit; copies of the scope hold the same one."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "none"
CLIENT_LEFT = 499
"""Status of a request whose client left before the answer began, as other servers log it."""


@dataclass(slots=True)
class Visit:
    """One request, as the log and the metrics see it."""

    id: str
    """12 hex digits."""
    method: str
    """One of METHODS, or "other"."""
    route: str = NO_ROUTE
    """Template of the route that answered, such as /prompts/{slug}; never the path itself."""
    status: int = 0


def visit_of(scope: Scope) -> Visit:
    """The visit that a scope belongs to."""
    found: Visit | None = scope.get(KEY)
    if found is None:
        method = scope.get("method", "")
        found = scope[KEY] = Visit(secrets.token_hex(6), method if method in METHODS else "other")
    return found


def log_ask(ask_id: str, job_ids: Sequence[str], new: bool) -> None:
    """Note that somebody asked: ids alone, not what was asked."""
    log.info("ask", ask=ask_id, jobs=list(job_ids), new=new)


class RequestLog:
    """ASGI wrapper around everything else that numbers, times and logs each request.

    ``observe`` gets each visit with its seconds when it has ended. The number is bound to the request's context, so
    that whatever is logged on the way carries it, a traceback that the server logs afterwards too.
    """

    def __init__(self, app: ASGIApp, observe: Callable[[Visit, float], None]) -> None:
        self.app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = perf_counter()
        visit = visit_of(scope)
        clear_contextvars()
        bind_contextvars(request=visit.id)

        async def send_numbered(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                number = (b"x-request-id", visit.id.encode())
                message = {**message, "headers": [*message.get("headers", ()), number]}
            await send(message)

        try:
            await self.app(scope, receive, send_numbered)
        except Exception:
            visit.status = visit.status or 500
            raise
        finally:
            visit.status = visit.status or CLIENT_LEFT
            seconds = perf_counter() - began
            self._observe(visit, seconds)
            log.info(
                "request",
                method=visit.method,
                route=visit.route,
                status=visit.status,
                milliseconds=round(seconds * 1000, 2),
            )


class RouteNames:
    """ASGI wrapper right around the router that notes which route answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                visit_of(scope).route = route_of(scope)


def route_of(scope: Scope) -> str:
    """The template of the route that a scope went to."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None and "app_root_path" in scope:  # a mounted application
        path = scope["root_path"].removeprefix(scope["app_root_path"])
    return path or NO_ROUTE
