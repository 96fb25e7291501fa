"""Addresses of annotations: judging in place, one's own, those of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.annotate.forms import Faulty, Typed, problem_of, refusal
from app.annotate.in_place import InPlacePage, build_in_place, form_address
from app.annotate.lists import (
    AnnotationParameters,
    ListedAnnotationParameters,
    annotation_json,
    build_list,
    build_one,
    export_lines,
    export_table,
    list_json,
)
from app.annotate.queue_routes import Annotator, Curator, closed_pool, saved_answer
from app.http.database import ReadSession, catalogue_of, read_while_streaming
from app.http.errors import not_found
from app.http.exports import Format, export
from app.http.formats import local_path, wants_json, wants_part
from app.http.forms import Form, number, readable
from app.http.headers import NO_STORE
from app.http.identity import actor_of, writing
from app.http.parameters import parameters_of
from app.http.rendering import render
from app.http.viewers import Viewer
from backend.annotations import writing as changes
from backend.annotations.exchange import COLUMNS
from backend.annotations.subjects import Pair, pair_in_place, ranks_of
from backend.annotations.writing import ClosedPool, OutdatedAnnotation, UnknownAnnotation
from backend.settings import Settings

router = APIRouter()
Asked = Annotated[AnnotationParameters, Depends(parameters_of(AnnotationParameters))]
Listed = Annotated[ListedAnnotationParameters, Depends(parameters_of(ListedAnnotationParameters))]


@router.get("/annotate/in-place")
def in_place(
    request: Request,
    session: ReadSession,
    viewer: Annotator,
    prompt: str = "",
    passage: str = "",
    edit: str = "",
    back: str = "",
) -> Response:
    pair = _pair(session, prompt, passage)
    page = build_in_place(request, session, viewer, pair, local_path(back or f"/prompts/{prompt}"), edit=bool(edit))
    return _judged(request, page)


@router.post("/annotate/in-place")
def judge_in_place(request: Request, viewer: Annotator, form: Form) -> Response:
    """Save what was said of a passage, and lead back; a fault shows the form as it was typed."""
    typed = Typed.read(form)
    slug, passage_id = readable(form.one("prompt")), readable(form.one("passage"))
    back = local_path(form.one("back") or f"/prompts/{slug}")
    try:
        with writing(request, shown=_shown_to_all(request)) as session:
            pair = _pair(session, slug, passage_id)
            judgement = typed.judged(pair.passage.text, needs_label=False)
            about = pair.about(None, ranks_of(session, pair))
            saved = changes.save(session, actor_of(request), about, judgement, typed.version)
    except (Faulty, OutdatedAnnotation) as refused:
        if wants_json(request):
            raise problem_of(refused) from refused
        faults, standing, status = refusal(refused)
        typed = typed.after(refused)
        with catalogue_of(request).read() as session:
            pair = _pair(session, slug, passage_id)
            page = build_in_place(
                request, session, viewer, pair, back, edit=True, typed=typed, faults=faults, standing=standing
            )
            return _judged(request, page, status)
    return saved_answer(request, saved, form_address(slug, passage_id, back) if wants_part(request) else back)


def _judged(request: Request, page: InPlacePage, status: int = 200) -> Response:
    return render(request, "annotate/in_place.html", {"page": page}, block="judged", status=status, headers=NO_STORE)


@router.get("/annotate/mine.json")
def mine_json(request: Request, session: ReadSession, viewer: Annotator, asked: Asked) -> dict[str, Any]:
    return list_json(session, asked, viewer, own=True)


@router.get("/annotate/mine.csv")
def mine_csv(request: Request, viewer: Annotator, asked: Listed) -> Response:
    return _export(request, viewer, asked, "csv", own=True)


@router.get("/annotate/mine.jsonl")
def mine_jsonl(request: Request, viewer: Annotator, asked: Listed) -> Response:
    return _export(request, viewer, asked, "jsonl", own=True)


@router.get("/annotate/mine")
def mine(request: Request, session: ReadSession, viewer: Annotator, asked: Asked) -> Response:
    page = build_list(session, asked, viewer, own=True)
    return render(request, "annotate/list.html", {"page": page}, headers=NO_STORE)


@router.get("/annotations.json")
def all_json(request: Request, session: ReadSession, viewer: Curator, asked: Asked) -> dict[str, Any]:
    return list_json(session, asked, viewer, own=False)


@router.get("/annotations.csv")
def all_csv(request: Request, viewer: Curator, asked: Listed) -> Response:
    return _export(request, viewer, asked, "csv", own=False)


@router.get("/annotations.jsonl")
def all_jsonl(request: Request, viewer: Curator, asked: Listed) -> Response:
    return _export(request, viewer, asked, "jsonl", own=False)


@router.get("/annotations")
def all_of_them(request: Request, session: ReadSession, viewer: Curator, asked: Asked) -> Response:
    page = build_list(session, asked, viewer, own=False)
    return render(request, "annotate/list.html", {"page": page}, headers=NO_STORE)


@router.get("/annotations/{annotation_id}.json")
def one_json(session: ReadSession, viewer: Annotator, annotation_id: str) -> dict[str, Any]:
    found = annotation_json(session, viewer, annotation_id)
    if found is None:
        raise _unknown()
    return found


@router.get("/annotations/{annotation_id}")
def one(request: Request, session: ReadSession, viewer: Annotator, annotation_id: str) -> Response:
    page = build_one(session, viewer, annotation_id)
    if page is None:
        raise _unknown()
    return render(request, "annotate/one.html", {"page": page}, headers=NO_STORE)


@router.post("/annotations/{annotation_id}/delete")
def delete(request: Request, viewer: Annotator, annotation_id: str, form: Form) -> Response:
    """Take one's own annotation back."""
    return _change(request, annotation_id, form, changes.delete)


@router.post("/annotations/{annotation_id}/undo")
def undo(request: Request, viewer: Annotator, annotation_id: str, form: Form) -> Response:
    """Put one's own annotation back to what it was before."""
    return _change(request, annotation_id, form, changes.undo)


def _change(request: Request, annotation_id: str, form: Form, change: Any) -> Response:
    try:
        with writing(request, shown=_shown_to_all(request)) as session:
            change(session, actor_of(request), annotation_id, number(form.one("version")))
    except UnknownAnnotation:
        raise _unknown() from None
    except ClosedPool:
        raise closed_pool() from None
    except OutdatedAnnotation as outdated:
        raise problem_of(outdated) from None
    return RedirectResponse(local_path(form.one("back") or f"/annotations/{annotation_id}"), 303, headers=NO_STORE)


def _shown_to_all(request: Request) -> bool:
    """Whether pages that the server keeps for everybody show annotations."""
    settings: Settings = request.app.state.settings
    return settings.annotations == "everyone"


def _export(
    request: Request, viewer: Viewer, asked: ListedAnnotationParameters, kind: Format, *, own: bool
) -> Response:
    def rows() -> Iterator[dict[str, Any]]:
        with read_while_streaming(request) as session:
            yield from (export_lines if kind == "jsonl" else export_table)(session, asked, viewer, own=own)

    return export(rows(), COLUMNS, "annotations", kind)


def _pair(session: Session, slug: str, passage_id: str) -> Pair:
    pair = None if "\0" in slug + passage_id else pair_in_place(session, slug, passage_id)
    if pair is None:
        raise not_found("There is no such prompt, or its corpus has no such passage.", ("/prompts", "All prompts"))
    return pair


def _unknown() -> Exception:
    return not_found("There is no such annotation among yours.", ("/annotate/mine", "Your annotations"))
