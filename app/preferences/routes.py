"""Choosing a theme: a plain form, a cookie, and back to where the reader was."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from app.http.formats import local_path
from app.http.rendering import theme_cookie

router = APIRouter()
YEAR = 365 * 24 * 3600


@router.post("/theme")
def choose_theme(request: Request, to: Literal["auto", "light", "dark"], back: str = "/") -> Response:
    response = RedirectResponse(local_path(back), 303)
    secure = request.url.scheme == "https"
    if to == "auto":
        response.delete_cookie(theme_cookie(request), secure=secure, httponly=True, samesite="lax")
    else:
        response.set_cookie(theme_cookie(request), to, YEAR, secure=secure, httponly=True, samesite="lax")
    return response
