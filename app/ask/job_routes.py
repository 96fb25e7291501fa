"""Following a question until it is answered, and the list of one's own questions."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.ask import job_views as views
from app.ask.parameters import PageParameters
from app.ask.readers import reader_hash
from app.ask.streams import LIVE, Stream, follow, missing
from app.http.database import ReadSession
from app.http.errors import Problem
from app.http.headers import NO_STORE
from app.http.parameters import NoParameters, parameters_of
from app.http.rendering import render
from backend.jobs.client import cancel, find_ask

router = APIRouter()
NothingAsked = Annotated[NoParameters, Depends(parameters_of(NoParameters))]
PageAsked = Annotated[PageParameters, Depends(parameters_of(PageParameters))]


@router.get("/jobs/{ask_id}.json")
def asked_json(session: ReadSession, ask_id: str, asked: NothingAsked) -> Response:
    found = find_ask(session, ask_id)
    if found is None:
        raise missing(ask_id)
    return JSONResponse(views.asked_json(found), headers=NO_STORE)


@router.get("/jobs/{ask_id}/events", response_class=EventSourceResponse)
async def asked_events(request: Request, ask_id: Stream) -> AsyncIterable[ServerSentEvent]:
    async for event in follow(request, ask_id):
        yield event


@router.get("/jobs/{ask_id}")
def asked_page(request: Request, session: ReadSession, ask_id: str, asked: NothingAsked) -> Response:
    page = views.read_page(session, ask_id, reader_hash(request))
    if page is None:
        raise missing(ask_id)
    if page.arrive is not None:
        return RedirectResponse(page.arrive, 303, headers=NO_STORE)
    return render(request, "ask/job.html", {"page": page, "live": LIVE}, headers=NO_STORE)


@router.post("/jobs/{ask_id}/cancel")
def cancel_asked(request: Request, session: ReadSession, ask_id: str) -> Response:
    found = find_ask(session, ask_id)
    if found is None:
        raise missing(ask_id)
    if not views.may_cancel(found, reader_hash(request)):
        link = (f"/jobs/{ask_id}", "The question")
        raise Problem(403, "Not yours", "Only the reader who asked may cancel a question.", link=link, headers=NO_STORE)
    session.close()
    with request.app.state.catalogue.write(shown=False) as writing:
        cancel(writing, ask_id)
    return RedirectResponse(f"/jobs/{ask_id}", 303, headers=NO_STORE)


@router.get("/questions.json")
def own_questions_json(request: Request, session: ReadSession, asked: PageAsked) -> Response:
    return JSONResponse(views.questions_json(_own(request, session, asked)), headers=NO_STORE)


@router.get("/questions")
def own_questions(request: Request, session: ReadSession, asked: PageAsked) -> Response:
    page = _own(request, session, asked)
    return render(request, "ask/questions.html", {"page": page}, headers=NO_STORE)


def _own(request: Request, session: Any, asked: PageParameters) -> views.QuestionList:
    return views.own_questions(session, reader_hash(request), asked.page)
