"""Asking a question: the form, and what it leads to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.ask.asking import Question, may_ask, require_asking, submit
from app.ask.forms import MODEL, Typed, check, typed_question
from app.ask.job_routes import router as jobs
from app.ask.parameters import AskParameters
from app.ask.patch_routes import router as patches
from app.ask.readers import reader_or_new, remember
from app.ask.views import MIXING_TASKS, AskPage, build_form, tokens_of
from app.http.clients import address_turn
from app.http.database import ReadSession
from app.http.errors import FieldError, Problem
from app.http.formats import wants_json
from app.http.forms import Form
from app.http.headers import NO_STORE
from app.http.limits import asking_limit
from app.http.logs import log_ask
from app.http.parameters import parameters_of
from app.http.rendering import render
from backend.jobs.subjects import find_subject

router = APIRouter()
AskAsked = Annotated[AskParameters, Depends(parameters_of(AskParameters))]


@router.get("/ask")
def ask_page(request: Request, session: ReadSession, asked: AskAsked) -> Response:
    page = build_form(session, request.app.state.settings, asked.typed, fresh=True, may_ask=may_ask(request))
    return _render(request, page)


@router.post("/ask", dependencies=[Depends(asking_limit)])
def ask_question(request: Request, session: ReadSession, form: Form) -> Response:
    require_asking(request)
    settings = request.app.state.settings
    typed = typed_question(form)
    question, errors = check(settings, find_subject(session, typed.query_set or None), typed)
    if question is None:
        return _refused(request, session, typed, errors)
    session.close()  # the write below waits for other writers, and must not hold this one's view meanwhile
    return _asked(request, typed, question)


@router.post("/ask/tokens")
def count_typed(request: Request, session: ReadSession, form: Form) -> Response:
    require_asking(request)
    settings = request.app.state.settings
    typed = typed_question(form)
    subject = find_subject(session, typed.query_set or None)
    tokens = None if subject is None else tokens_of(settings, subject, typed)
    return render(request, "ask/tokens.html", {"tokens": tokens}, headers=NO_STORE)


def _asked(request: Request, typed: Typed, question: Question) -> Response:
    """Ask, and lead to where the answer will be; where the model is to complete, its completions come first."""
    reader = reader_or_new(request)
    parameters = {
        "prompt": question.prompt,
        "completion": question.completion,
        "methods": list(question.methods),
        "task": question.task,
        "k": question.k,
        "query_set": question.subject.query_set_id,
    }
    requests = question.requests
    if typed.by == MODEL:
        parameters["samples"] = int(typed.samples)
        requests = question.completions(int(typed.samples))
    catalogue, settings = request.app.state.catalogue, request.app.state.settings
    asked = submit(catalogue, settings, requests, parameters, reader=reader.hash, address=address_turn(request))
    log_ask(asked.ask_id, asked.job_ids, asked.new)
    response = RedirectResponse(f"/jobs/{asked.ask_id}", 303, headers=NO_STORE)
    remember(request, response, reader)
    return response


def _refused(request: Request, session: Session, typed: Typed, errors: list[FieldError]) -> Response:
    """The form with what was typed and what is wrong with it."""
    if wants_json(request):
        raise Problem(422, "Not understood", "Something in this question is not as it must be.", tuple(errors))
    page = build_form(session, request.app.state.settings, typed, errors, may_ask=True)
    return _render(request, page, 422)


def _render(request: Request, page: AskPage, status: int = 200) -> Response:
    context = {"page": page, "mixing": MIXING_TASKS}
    return render(request, "ask/ask.html", context, status=status, headers=NO_STORE)


router.include_router(jobs)
router.include_router(patches)
