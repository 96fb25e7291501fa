"""Cookies of this site: as strict as the connection allows, and closed to scripts."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

DAY = 24 * 3600
YEAR = 365 * DAY


def read_cookie(request: Request, name: str) -> str | None:
    """The value of a cookie; None where the browser sends none."""
    return request.cookies.get(_full_name(request, name))


def set_cookie(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    """Give the browser a cookie."""
    secure = request.url.scheme == "https"
    response.set_cookie(_full_name(request, name), value, seconds, secure=secure, httponly=True, samesite="lax")


def drop_cookie(request: Request, response: Response, name: str) -> None:
    """Take a cookie back."""
    secure = request.url.scheme == "https"
    response.delete_cookie(_full_name(request, name), secure=secure, httponly=True, samesite="lax")


def _full_name(request: Request, name: str) -> str:
    """The safest prefix where the connection allows it."""
    return f"__Host-{name}" if request.url.scheme == "https" else name
