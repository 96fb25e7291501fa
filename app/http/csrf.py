"""Refuse unsafe requests that another site makes a browser send."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.errors import Problem, problem_response

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_cross_site(headers: Headers) -> bool:
    """True if a browser says that another site made the request.

    Browsers send Sec-Fetch-Site, old ones Origin with every unsafe request. A request with neither is not a
    browser's, and a bearer token without cookies is nothing that a browser adds by itself.
    """
    if headers.get("authorization", "").lower().startswith("bearer ") and "cookie" not in headers:
        return False
    fetched_from = headers.get("sec-fetch-site")
    if fetched_from is not None:
        return fetched_from not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc != headers.get("host")
    except ValueError:  # no browser sends such an address
        return True


class CrossSiteGuard:
    """ASGI wrapper that answers 403 to unsafe cross-site requests."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        unsafe = scope["type"] == "http" and scope["method"] not in SAFE_METHODS
        if unsafe and is_cross_site(Headers(scope=scope)):
            detail = "This request came from another site. Open the page here and try again."
            response = problem_response(Request(scope), Problem(403, "Refused", detail))
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)
