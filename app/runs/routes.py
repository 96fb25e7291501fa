"""Addresses of runs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.http.database import ReadSession
from app.http.errors import Problem, not_found
from app.http.exports import export
from app.http.parameters import NoParameters, bad_parameters, parameters_of
from app.http.rendering import render
from app.runs import views
from app.runs.parameters import RunListParameters

router = APIRouter()
ListAsked = Annotated[RunListParameters, Depends(parameters_of(RunListParameters))]
NothingAsked = Annotated[NoParameters, Depends(parameters_of(NoParameters))]


@router.get("/runs.json")
def list_json(request: Request, session: ReadSession, asked: ListAsked) -> dict[str, Any]:
    try:
        return views.run_list_json(session, asked)
    except views.UnknownCursor as unknown:
        raise bad_parameters(request, unknown.error) from unknown


@router.get("/runs.csv")
def list_csv(session: ReadSession, asked: NothingAsked) -> Response:
    return export(views.export_rows(session), views.EXPORT_COLUMNS, "runs", "csv")


@router.get("/runs.jsonl")
def list_jsonl(session: ReadSession, asked: NothingAsked) -> Response:
    return export(views.export_rows(session), views.EXPORT_COLUMNS, "runs", "jsonl")


@router.get("/runs")
def list_page(request: Request, session: ReadSession, asked: ListAsked) -> Response:
    try:
        page = views.run_list(session, asked)
    except views.UnknownCursor as unknown:
        raise bad_parameters(request, unknown.error) from unknown
    return render(request, "runs/list.html", {"page": page, "progress": page.progress}, block="progress")


@router.get("/runs/{run_id}.json")
def run_json(session: ReadSession, run_id: str, asked: NothingAsked) -> dict[str, Any]:
    found = views.run_json(session, run_id)
    if found is None:
        raise _no_run(run_id)
    return found


@router.get("/runs/{run_id}")
def run_page(request: Request, session: ReadSession, run_id: str, asked: NothingAsked) -> Response:
    page = views.run_page(session, run_id)
    if page is None:
        raise _no_run(run_id)
    return render(request, "runs/run.html", {"page": page})


def _no_run(run_id: str) -> Problem:
    return not_found(f"There is no run “{run_id}” here.", ("/runs", "All runs"))
