"""Addresses of passages. An id may hold slashes and dots, so these routes take the rest of the path."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response

from app.curation.views import REASONS
from app.http.database import ReadSession
from app.http.errors import not_found
from app.http.exports import Format, export
from app.http.parameters import parameters_of
from app.http.rendering import render
from app.passages import views
from app.passages.parameters import PassageParameters
from backend.curation.flags import flags_of

router = APIRouter()
Asked = Annotated[PassageParameters, Depends(parameters_of(PassageParameters))]


@router.get("/passages/{passage_id:path}.json")
def passage_json(request: Request, session: ReadSession, passage_id: str, asked: Asked) -> Response:
    found = views.find(session, passage_id, asked)
    if found is None:  # the id itself may end in .json
        return passage_page(request, session, f"{passage_id}.json", asked)
    return JSONResponse(views.passage_json(session, found, asked))


@router.get("/passages/{passage_id:path}.csv")
def passage_csv(request: Request, session: ReadSession, passage_id: str, asked: Asked) -> Response:
    return _export(request, session, passage_id, asked, "csv")


@router.get("/passages/{passage_id:path}.jsonl")
def passage_jsonl(request: Request, session: ReadSession, passage_id: str, asked: Asked) -> Response:
    return _export(request, session, passage_id, asked, "jsonl")


def _export(request: Request, session: Session, passage_id: str, asked: PassageParameters, kind: Format) -> Response:
    found = views.find(session, passage_id, asked)
    if found is None:  # the id itself may end so
        return passage_page(request, session, f"{passage_id}.{kind}", asked)
    return export(views.export_rows(session, found), views.EXPORT_COLUMNS, "passage", kind)


@router.get("/passages/{passage_id:path}")
def passage_page(request: Request, session: ReadSession, passage_id: str, asked: Asked) -> Response:
    found = views.find(session, passage_id, asked)
    if found is None:
        raise not_found(f"There is no passage “{passage_id}” here.", ("/prompts", "All prompts"))
    page = views.build_page(session, found, asked)
    flags = flags_of(session, found.passage.content_hash)
    return render(request, "passages/passage.html", {"page": page, "flags": flags, "REASONS": REASONS})
