"""Addresses of comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import PlainTextResponse, Response

from app.comparisons import views
from app.comparisons.parameters import ChosenParameters, ComparisonListParameters, ComparisonParameters
from app.http.database import ReadSession, read_while_streaming
from app.http.errors import Problem, not_found
from app.http.exports import Format, export
from app.http.parameters import NoParameters, bad_parameters, parameters_of
from app.http.rendering import render
from backend.catalogue.comparisons import find_comparison

router = APIRouter()
ListAsked = Annotated[ComparisonListParameters, Depends(parameters_of(ComparisonListParameters))]
Asked = Annotated[ComparisonParameters, Depends(parameters_of(ComparisonParameters))]
ExportAsked = Annotated[ChosenParameters, Depends(parameters_of(ChosenParameters))]
NothingAsked = Annotated[NoParameters, Depends(parameters_of(NoParameters))]


@router.get("/comparisons.json")
def list_json(session: ReadSession, asked: ListAsked) -> dict[str, Any]:
    return views.comparison_list_json(session, asked)


@router.get("/comparisons")
def list_page(request: Request, session: ReadSession, asked: ListAsked) -> Response:
    return render(request, "comparisons/list.html", {"page": views.comparison_list(session, asked)})


@router.get("/comparisons/{model_id}/without.txt")
def left_out(session: ReadSession, model_id: str, asked: NothingAsked) -> Response:
    ids = views.left_out_text(session, model_id)
    if ids is None:
        raise _no_comparison(model_id)
    headers = {"Content-Disposition": 'attachment; filename="without.txt"', "Cache-Control": "no-cache"}
    return PlainTextResponse(ids, headers=headers)


@router.get("/comparisons/{model_id}.json")
def comparison_json(request: Request, session: ReadSession, model_id: str, asked: Asked) -> dict[str, Any]:
    page = views.comparison_page(session, model_id, asked)
    if page is None:
        raise _no_comparison(model_id)
    if page.unknown:
        raise bad_parameters(request, views.unknown_error(page.unknown))
    return views.page_json(page, asked)


@router.get("/comparisons/{model_id}.csv")
def comparison_csv(request: Request, session: ReadSession, model_id: str, asked: ExportAsked) -> Response:
    return _export(request, session, model_id, asked, "csv")


@router.get("/comparisons/{model_id}.jsonl")
def comparison_jsonl(request: Request, session: ReadSession, model_id: str, asked: ExportAsked) -> Response:
    return _export(request, session, model_id, asked, "jsonl")


@router.get("/comparisons/{model_id}")
def comparison_page(request: Request, session: ReadSession, model_id: str, asked: Asked) -> Response:
    page = views.comparison_page(session, model_id, asked)
    if page is None:
        raise _no_comparison(model_id)
    return render(request, "comparisons/comparison.html", {"page": page})


def _export(request: Request, session: ReadSession, model_id: str, asked: ChosenParameters, kind: Format) -> Response:
    if find_comparison(session, model_id) is None:
        raise _no_comparison(model_id)

    def rows() -> Iterator[dict[str, Any]]:
        with read_while_streaming(request) as own:
            yield from views.export_rows(own, model_id, asked)

    return export(rows(), views.EXPORT_COLUMNS, f"comparison-{model_id}", kind)


def _no_comparison(model_id: str) -> Problem:
    return not_found(
        f"There is no model “{model_id}” here that was trained without some passages.",
        ("/comparisons", "All comparisons"),
    )
