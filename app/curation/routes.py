"""Addresses of flags and of private sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from app.curation import views
from app.curation.parameters import CorpusParameters, FlagListed, FlagParameters
from app.http.database import ReadSession, catalogue_of, read_while_streaming
from app.http.errors import FieldError, Problem, not_found
from app.http.exports import Format, export
from app.http.formats import local_path, wants_json
from app.http.forms import Form, readable
from app.http.headers import NO_STORE
from app.http.identity import actor_of, require, writing
from app.http.parameters import parameters_of
from app.http.rendering import render
from app.http.viewers import Viewer, viewer_of
from backend.accounts.roles import Role
from backend.catalogue.models import Corpus
from backend.core.errors import UserError
from backend.curation import private_sources
from backend.curation.flags import LONGEST_NOTE, Reason, clear, flag, flagged_ids, passages_named, unflagged

router = APIRouter()
Asked = Annotated[FlagParameters, Depends(parameters_of(FlagParameters))]
Listed = Annotated[FlagListed, Depends(parameters_of(FlagListed))]
OfCorpus = Annotated[CorpusParameters, Depends(parameters_of(CorpusParameters))]
Curator = Annotated[Viewer, Depends(require(Role.CURATOR))]
HERE = ("/flags", "All flags")


@router.get("/flags.json")
def list_json(request: Request, session: ReadSession, asked: Asked) -> dict[str, Any]:
    return views.list_json(session, asked, viewer_of(request.scope))


@router.get("/flags.csv")
def list_csv(request: Request, asked: Listed) -> Response:
    return _export(request, asked, "csv")


@router.get("/flags.jsonl")
def list_jsonl(request: Request, asked: Listed) -> Response:
    return _export(request, asked, "jsonl")


@router.get("/flags")
def list_page(request: Request, session: ReadSession, asked: Asked) -> Response:
    page = views.build_list(session, asked, viewer_of(request.scope))
    return render(request, "curation/flags.html", {"page": page})


@router.get("/flags/ids.txt")
def ids(session: ReadSession, viewer: Annotated[Viewer, Depends(require(Role.ANNOTATOR))], asked: OfCorpus) -> Response:
    """The ids of flagged passages, one a line: what ``proponent train --without`` reads."""
    corpus_id = views.corpus_of(session, asked.corpus)
    found = [] if corpus_id is None else flagged_ids(session, corpus_id, asked.reason)
    headers = {"Content-Disposition": 'attachment; filename="flagged.txt"', **NO_STORE}
    return PlainTextResponse("".join(f"{one}\n" for one in found), headers=headers)


@router.get("/flags/corpus.jsonl")
def rest(request: Request, session: ReadSession, viewer: Curator, asked: OfCorpus) -> Response:
    """The corpus without its flagged passages, in the form that ``proponent corpus import`` reads."""
    corpus_id = views.corpus_of(session, asked.corpus)
    if corpus_id is None or session.get(Corpus, corpus_id) is None:
        raise not_found("There is no such corpus.", HERE)

    def rows() -> Iterator[dict[str, Any]]:
        with read_while_streaming(request) as own:
            for record in unflagged(own, corpus_id, asked.reason):
                yield {name: value for name, value in asdict(record).items() if value is not None and name != "group"}

    return export(rows(), (), "corpus", "jsonl")


@router.post("/flags")
def add(request: Request, viewer: Curator, form: Form) -> Response:
    """Flag passages by their ids, one a line, all or none."""
    given = [line.strip() for line in readable(form.one("passages")).splitlines() if line.strip()]
    reason, text = form.one("reason"), readable(form.one("note")).strip()
    try:
        if reason not in tuple(Reason):
            raise UserError("There is no such reason.", f"It is one of {', '.join(Reason)}.")
        if len(text) > LONGEST_NOTE:
            raise UserError(f"A note has at most {LONGEST_NOTE:,} characters.", "Shorten it.")
        if not given:
            raise UserError("There is no passage to flag.", "Give ids of passages, one a line.")
        with writing(request, shown=True) as session:
            corpus_id = views.corpus_of(session, readable(form.one("corpus")) or None) or ""
            found = passages_named(session, corpus_id, list(dict.fromkeys(given)))
            added = flag(session, actor_of(request), found, Reason(reason), text)
    except UserError as error:
        if wants_json(request):
            raise Problem(422, "Not understood", str(error), (FieldError("passages", str(error)),)) from error
        typed = {"passages": "\n".join(given), "reason": readable(reason)[:20], "note": text}
        with catalogue_of(request).read() as session:
            page = views.build_list(session, FlagParameters(), viewer, typed=typed, fault=str(error))
            return render(request, "curation/flags.html", {"page": page}, status=422, headers=NO_STORE)
    if wants_json(request):
        return JSONResponse({"added": added}, headers=NO_STORE)
    return RedirectResponse(local_path(form.one("back") or "/flags"), 303, headers=NO_STORE)


@router.post("/flags/{flag_id}/clear")
def take_back(request: Request, viewer: Curator, flag_id: str, form: Form) -> Response:
    """Clear a flag, whoever set it."""
    try:
        with writing(request, shown=True) as session:
            clear(session, actor_of(request), flag_id)
    except UserError as error:
        raise not_found(str(error), HERE) from error
    return RedirectResponse(local_path(form.one("back") or "/flags"), 303, headers=NO_STORE)


@router.get("/sources/private.json")
def private_json(session: ReadSession, viewer: Curator) -> dict[str, Any]:
    items = [
        {
            "source": source.name,
            "passages": source.passages,
            "private": source.private is not None,
            "reason": source.private.reason if source.private else None,
            "by": source.by,
        }
        for source in private_sources.sources(session)
    ]
    return {"items": items, "next": None, "total": len(items)}


@router.get("/sources/private")
def private_page(request: Request, session: ReadSession, viewer: Curator) -> Response:
    context = {"sources": private_sources.sources(session)}
    return render(request, "curation/private_sources.html", context, headers=NO_STORE)


@router.post("/sources/private")
def change_private(request: Request, viewer: Curator, form: Form) -> Response:
    """Make a source private (``private`` is yes) or public (no)."""
    name, private = readable(form.one("source")), form.one("private")
    try:
        if private not in ("yes", "no"):
            raise UserError("Private is yes or no.", "Use the page's buttons.")
        with writing(request, shown=True) as session:
            if private == "yes":
                private_sources.make_private(session, actor_of(request), name, readable(form.one("reason")).strip())
            else:
                private_sources.make_public(session, actor_of(request), name)
    except UserError as error:
        raise Problem(422, "Not done", str(error), link=("/sources/private", "All sources")) from error
    return RedirectResponse("/sources/private", 303, headers=NO_STORE)


def _export(request: Request, asked: FlagListed, kind: Format) -> Response:
    viewer = viewer_of(request.scope)

    def rows() -> Iterator[dict[str, Any]]:
        with read_while_streaming(request) as session:
            yield from views.export_rows(session, asked, viewer)

    return export(rows(), views.COLUMNS, "flags", kind)
