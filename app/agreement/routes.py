"""Addresses of agreement."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.agreement.parameters import AgreementParameters
from app.agreement.views import AgreementPage, agreement_json, build_page
from app.http.database import ReadSession
from app.http.errors import not_found
from app.http.parameters import parameters_of
from app.http.rendering import render
from app.http.viewers import viewer_of

router = APIRouter()
Asked = Annotated[AgreementParameters, Depends(parameters_of(AgreementParameters))]


@router.get("/agreement.json")
def as_json(request: Request, session: ReadSession, asked: Asked) -> dict[str, Any]:
    return agreement_json(_found(build_page(session, asked, viewer_of(request.scope))))


@router.get("/agreement")
def page(request: Request, session: ReadSession, asked: Asked) -> Response:
    found = _found(build_page(session, asked, viewer_of(request.scope)))
    return render(request, "agreement/agreement.html", {"page": found})


def _found(page: AgreementPage | None) -> AgreementPage:
    if page is None:
        raise not_found("There is no such pool.", ("/agreement", "All pools"))
    return page
