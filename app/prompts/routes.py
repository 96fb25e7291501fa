"""Addresses of prompts and of permalinks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from app.http.database import ReadSession
from app.http.errors import not_found
from app.http.parameters import bad_parameters, parameters_of
from app.http.rendering import render
from app.prompts import rankings, views
from app.prompts.columns import build_page
from app.prompts.parameters import FilterParameters, ListParameters, PinnedParameters, PromptParameters
from backend.catalogue.prompts import random_slug

router = APIRouter()
ListAsked = Annotated[ListParameters, Depends(parameters_of(ListParameters))]
PromptAsked = Annotated[PromptParameters, Depends(parameters_of(PromptParameters))]
PinnedAsked = Annotated[PinnedParameters, Depends(parameters_of(PinnedParameters))]
FilterAsked = Annotated[FilterParameters, Depends(parameters_of(FilterParameters))]
MOST_PINNED = 20
ALL_PROMPTS = ("/prompts", "All prompts")


@router.get("/prompts.json")
def list_json(request: Request, session: ReadSession, asked: ListAsked) -> dict[str, Any]:
    try:
        return views.list_json(session, asked)
    except views.UnknownCursor as unknown:
        raise bad_parameters(request, unknown.error) from unknown


@router.get("/prompts")
def list_page(request: Request, session: ReadSession, asked: ListAsked) -> Response:
    try:
        page = views.build_list(session, asked)
    except views.UnknownCursor as unknown:
        raise bad_parameters(request, unknown.error) from unknown
    headers = {"HX-Push-Url": page.canonical}
    return render(request, "prompts/list.html", {"page": page}, block="results", headers=headers)


@router.get("/prompts/random")
def random_prompt(session: ReadSession, asked: FilterAsked) -> Response:
    slug = random_slug(session, asked.wanted)
    if slug is None:
        raise not_found("There is no prompt to choose from.", ALL_PROMPTS)
    return RedirectResponse(f"/prompts/{slug}", 303, headers={"Cache-Control": "no-store"})


@router.get("/prompts/{slug}.json")
def prompt_json(request: Request, session: ReadSession, slug: str, asked: PromptAsked) -> dict[str, Any]:
    loaded = _current(session, slug)
    every = tuple(run.method for run in sorted(loaded.runs, key=rankings.run_order))
    try:
        shown = rankings.choose(loaded, asked.chosen or every)
    except rankings.MissingMethods as missing:
        raise bad_parameters(request, missing.error) from missing
    return rankings.prompt_json(session, loaded, shown, asked.k)


@router.get("/prompts/{slug}")
def prompt_page(request: Request, session: ReadSession, slug: str, asked: PromptAsked) -> Response:
    loaded = _current(session, slug)
    try:
        shown = rankings.choose(loaded, asked.chosen)
    except rankings.MissingMethods as missing:
        raise bad_parameters(request, missing.error) from missing
    page = build_page(session, loaded, shown, asked, pinned=False)
    return render(request, "prompts/prompt.html", {"page": page})


@router.get("/r/{runs}/{slug}.json")
def pinned_json(session: ReadSession, runs: str, slug: str, asked: PinnedAsked) -> dict[str, Any]:
    loaded = _pinned(session, slug, runs)
    return rankings.prompt_json(session, loaded, loaded.runs, asked.k)


@router.get("/r/{runs}/{slug}")
def pinned_page(request: Request, session: ReadSession, runs: str, slug: str, asked: PinnedAsked) -> Response:
    loaded = _pinned(session, slug, runs)
    page = build_page(session, loaded, loaded.runs, asked, pinned=True)
    return render(request, "prompts/prompt.html", {"page": page})


def _current(session: ReadSession, slug: str) -> rankings.Rankings:
    loaded = rankings.load_current(session, slug)
    if loaded is None:
        raise not_found(f"There is no prompt “{slug}” here.", ALL_PROMPTS)
    return loaded


def _pinned(session: ReadSession, slug: str, runs: str) -> rankings.Rankings:
    if runs.count("+") >= MOST_PINNED:
        raise not_found(f"An address pins at most {MOST_PINNED} runs.", (f"/prompts/{slug}", "The current runs"))
    try:
        loaded = rankings.load_pinned(session, slug, list(dict.fromkeys(runs.split("+"))))
    except rankings.MissingRun as missing:
        raise not_found(str(missing), (f"/prompts/{slug}", "This prompt with the current runs")) from missing
    if loaded is None:
        raise not_found(f"There is no prompt “{slug}” here.", ALL_PROMPTS)
    return loaded
