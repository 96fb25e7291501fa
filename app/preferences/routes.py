"""Choosing a theme: a plain form, a cookie, and back to where the reader was."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from app.http.cookies import YEAR, drop_cookie, set_cookie
from app.http.formats import local_path
from app.http.rendering import THEME_COOKIE

router = APIRouter()


@router.post("/theme")
def choose_theme(request: Request, to: Literal["auto", "light", "dark"], back: str = "/") -> Response:
    response = RedirectResponse(local_path(back), 303)
    if to == "auto":
        drop_cookie(request, response, THEME_COOKIE)
    else:
        set_cookie(request, response, THEME_COOKIE, to, YEAR)
    return response
