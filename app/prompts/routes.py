"""Addresses of prompts and of permalinks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.annotate.in_place import judged_cards
from app.ask.asking import may_ask
from app.http.database import ReadSession, read_while_streaming
from app.http.errors import not_found
from app.http.exports import Format, export
from app.http.parameters import bad_parameters, parameters_of
from app.http.rendering import render
from app.prompts import rankings, views
from app.prompts.columns import PromptPage, build_page
from app.prompts.parameters import ListedParameters, ListParameters, PinnedParameters, PromptParameters
from backend.catalogue.prompt_lists import random_slug
from backend.catalogue.runs import RunSummary

router = APIRouter()
ListAsked = Annotated[ListParameters, Depends(parameters_of(ListParameters))]
ExportAsked = Annotated[ListedParameters, Depends(parameters_of(ListedParameters))]
PromptAsked = Annotated[PromptParameters, Depends(parameters_of(PromptParameters))]
PinnedAsked = Annotated[PinnedParameters, Depends(parameters_of(PinnedParameters))]
ALL_PROMPTS = ("/prompts", "All prompts")


@router.get("/prompts.json")
def list_json(request: Request, session: ReadSession, asked: ListAsked) -> dict[str, Any]:
    try:
        return views.list_json(session, asked)
    except views.UnknownCursor as unknown:
        raise bad_parameters(request, unknown.error) from unknown


@router.get("/prompts.csv")
def list_csv(request: Request, session: ReadSession, asked: ExportAsked) -> Response:
    return _export_list(request, session, asked, "csv")


@router.get("/prompts.jsonl")
def list_jsonl(request: Request, session: ReadSession, asked: ExportAsked) -> Response:
    return _export_list(request, session, asked, "jsonl")


def _export_list(request: Request, session: Session, asked: ListedParameters, kind: Format) -> Response:
    def rows() -> Iterator[dict[str, Any]]:
        with read_while_streaming(request) as own:
            yield from views.export_rows(own, asked)

    return export(rows(), views.export_columns(session), "prompts", kind)


@router.get("/prompts")
def list_page(request: Request, session: ReadSession, asked: ListAsked) -> Response:
    try:
        page = views.build_list(session, asked)
    except views.UnknownCursor as unknown:
        raise bad_parameters(request, unknown.error) from unknown
    headers = {"HX-Push-Url": page.canonical}
    return render(request, "prompts/list.html", {"page": page}, block="results", headers=headers)


@router.get("/prompts/random")
def random_prompt(session: ReadSession, asked: ExportAsked) -> Response:
    slug = random_slug(session, asked.wanted)
    if slug is None:
        raise not_found("There is no prompt to choose from.", ALL_PROMPTS)
    url = views.address(f"/prompts/{slug}", asked.list_address)
    return RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})


@router.get("/prompts/{slug}.json")
def prompt_json(request: Request, session: ReadSession, slug: str, asked: PromptAsked) -> dict[str, Any]:
    loaded, shown = _whole(request, session, slug, asked)
    return rankings.prompt_json(session, loaded, shown, asked.k)


@router.get("/prompts/{slug}.csv")
def prompt_csv(request: Request, session: ReadSession, slug: str, asked: PromptAsked) -> Response:
    return _export_lists(session, *_whole(request, session, slug, asked), asked, "csv")


@router.get("/prompts/{slug}.jsonl")
def prompt_jsonl(request: Request, session: ReadSession, slug: str, asked: PromptAsked) -> Response:
    return _export_lists(session, *_whole(request, session, slug, asked), asked, "jsonl")


@router.get("/prompts/{slug}")
def prompt_page(request: Request, session: ReadSession, slug: str, asked: PromptAsked) -> Response:
    loaded = _current(session, slug)
    try:
        shown = rankings.choose(loaded, asked.chosen)
    except rankings.MissingMethods as missing:
        raise bad_parameters(request, missing.error) from missing
    page = build_page(session, loaded, shown, asked, pinned=False, may_ask=may_ask(request))
    return _rendered(request, session, loaded, page)


@router.get("/r/{runs}/{slug}.json")
def pinned_json(session: ReadSession, runs: str, slug: str, asked: PinnedAsked) -> dict[str, Any]:
    loaded = _pinned(session, slug, runs)
    return rankings.prompt_json(session, loaded, loaded.runs, asked.k)


@router.get("/r/{runs}/{slug}.csv")
def pinned_csv(session: ReadSession, runs: str, slug: str, asked: PinnedAsked) -> Response:
    loaded = _pinned(session, slug, runs)
    return _export_lists(session, loaded, loaded.runs, asked, "csv")


@router.get("/r/{runs}/{slug}.jsonl")
def pinned_jsonl(session: ReadSession, runs: str, slug: str, asked: PinnedAsked) -> Response:
    loaded = _pinned(session, slug, runs)
    return _export_lists(session, loaded, loaded.runs, asked, "jsonl")


@router.get("/r/{runs}/{slug}")
def pinned_page(request: Request, session: ReadSession, runs: str, slug: str, asked: PinnedAsked) -> Response:
    loaded = _pinned(session, slug, runs)
    page = build_page(session, loaded, loaded.runs, asked, pinned=True, may_ask=may_ask(request))
    return _rendered(request, session, loaded, page)


def _rendered(request: Request, session: Session, loaded: rankings.Rankings, page: PromptPage) -> Response:
    """The page with what people say of its passages."""
    ids = {card.passage_id for column in page.columns for card in column.cards}
    judged = judged_cards(request, session, loaded.prompt, loaded.corpus_id, ids)
    return render(request, "prompts/prompt.html", {"page": page, "judged": judged})


def _export_lists(
    session: Session, loaded: rankings.Rankings, shown: Sequence[RunSummary], asked: PinnedParameters, kind: Format
) -> Response:
    """Lists of one prompt: every stored passage, unless ``k`` says how many."""
    k = asked.k if "k" in asked.model_fields_set else None
    rows = rankings.export_rows(session, loaded, shown, k)
    return export(rows, rankings.EXPORT_COLUMNS, loaded.prompt.slug, kind)


def _whole(
    request: Request, session: Session, slug: str, asked: PromptParameters
) -> tuple[rankings.Rankings, list[RunSummary]]:
    """A prompt with the methods that were asked for, all of them by default."""
    loaded = _current(session, slug)
    every = tuple(run.method for run in sorted(loaded.runs, key=rankings.run_order))
    try:
        return loaded, rankings.choose(loaded, asked.chosen or every)
    except rankings.MissingMethods as missing:
        raise bad_parameters(request, missing.error) from missing


def _current(session: Session, slug: str) -> rankings.Rankings:
    loaded = rankings.load_current(session, slug)
    if loaded is None:
        raise not_found(f"There is no prompt “{slug}” here.", ALL_PROMPTS)
    return loaded


def _pinned(session: Session, slug: str, runs: str) -> rankings.Rankings:
    if runs.count("+") >= rankings.MOST_PINNED:
        raise not_found(
            f"An address pins at most {rankings.MOST_PINNED} runs.", (f"/prompts/{slug}", "The current runs")
        )
    try:
        loaded = rankings.load_pinned(session, slug, list(dict.fromkeys(runs.split("+"))))
    except rankings.MissingRun as missing:
        raise not_found(str(missing), (f"/prompts/{slug}", "This prompt with the current runs")) from missing
    if loaded is None:
        raise not_found(f"There is no prompt “{slug}” here.", ALL_PROMPTS)
    return loaded
