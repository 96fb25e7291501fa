"""The home page and the server's health."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.home import views
from app.http.database import ReadSession
from app.http.formats import wants_part
from app.http.parameters import NoParameters, parameters_of
from app.http.rendering import render

router = APIRouter()
NothingAsked = Annotated[NoParameters, Depends(parameters_of(NoParameters))]


@router.get("/")
def home_page(request: Request, session: ReadSession, asked: NothingAsked) -> Response:
    if wants_part(request):
        live = views.live_part(session)
        # when the last stage has ended, the whole page has something new to say
        headers = {} if live.progress.live else {"HX-Refresh": "true"}
        return render(request, "home/home.html", {"live": live}, block="live", headers=headers)
    page = views.home_page(session)
    return render(request, "home/home.html", {"page": page, "live": page.live})


@router.get("/index.json")
def home_json(session: ReadSession, asked: NothingAsked) -> dict[str, Any]:
    return views.home_json(session)


@router.get("/healthz")
def health(request: Request) -> dict[str, Any]:
    return {"status": "ok", "catalogue": "ready" if request.app.state.catalogue.found else "empty"}
