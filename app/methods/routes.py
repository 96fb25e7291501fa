"""Addresses of the page of methods."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.http.database import ReadSession
from app.http.parameters import bad_parameters, parameters_of
from app.http.rendering import render
from app.methods import views
from app.methods.parameters import MethodsParameters

router = APIRouter()
Asked = Annotated[MethodsParameters, Depends(parameters_of(MethodsParameters))]


@router.get("/methods.json")
def methods_json(request: Request, session: ReadSession, asked: Asked) -> dict[str, Any]:
    try:
        return views.methods_json(session, asked, request.app.state.settings.home)
    except views.UnknownQuerySet as unknown:
        raise bad_parameters(request, unknown.error) from unknown


@router.get("/methods")
def methods_page(request: Request, session: ReadSession, asked: Asked) -> Response:
    try:
        page = views.methods_page(session, asked, request.app.state.settings.home)
    except views.UnknownQuerySet as unknown:
        raise bad_parameters(request, unknown.error) from unknown
    return render(request, "methods/methods.html", {"page": page})
