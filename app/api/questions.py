"""Asking by the API: from a body to a job, and what is answered of a job."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Request
from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.api.bodies import unaskable
from app.api.parameters import QuestionListParameters
from app.api.schemas.questions import QuestionRequest
from app.ask.asking import Question, complaints, submit
from app.ask.readers import reader_of
from app.http.clients import address_turn, client_of
from app.http.database import Catalogue, catalogue_of
from app.http.errors import FieldError, Problem, not_found
from app.http.formats import address
from app.http.logs import log_ask
from app.prompts import rankings
from backend.catalogue.models import Ask, AskedJob
from backend.jobs.client import Asked, JobView, asks_of, find_job
from backend.jobs.subjects import Subject, find_subject
from backend.settings import Settings

LONGEST_KEY = 255
MOST_ASKS = 1_000
"""A reader's newest asks that their list looks at."""


def idempotency_key(request: Request) -> str | None:
    """Dependency: the hash of the client and its Idempotency-Key; raises a Problem (400) for one of another form."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    key = given[0]
    if len(given) > 1 or not 1 <= len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        message = f"must be given once, with 1 to {LONGEST_KEY} printable ASCII characters"
        raise Problem(
            400,
            "Not understood",
            "A header of this request cannot be used.",
            (FieldError("Idempotency-Key", message),),
        )
    return hashlib.sha256(f"{client_of(request)}\n{key}".encode()).hexdigest()


def ask(request: Request, asked: QuestionRequest, key: str | None) -> tuple[dict[str, Any], bool]:
    """The question as it is answered, and whether it is new; raises Problems.

    No session stays open from one step to the next: many clients at once would wait for each other's connections.
    """
    catalogue = catalogue_of(request)
    settings: Settings = request.app.state.settings
    question = _checked(catalogue, settings, asked)
    done = _submit(request, catalogue, settings, asked, question, key)
    log_ask(done.ask_id, done.job_ids, done.new)
    with catalogue.read() as session:
        job = find_job(session, done.job_ids[0])
    if job is None:  # its row went between the two transactions
        raise not_found("This question was removed just now. Ask it again.")
    return _fields(job, f"/jobs/{done.ask_id}"), done.new


def _checked(catalogue: Catalogue, settings: Settings, asked: QuestionRequest) -> Question:
    with catalogue.read() as session:
        subject = _subject(session, asked.query_set)
    errors = complaints(settings, subject, asked.prompt, asked.completion, [asked.method], asked.task)
    if errors:
        raise unaskable(*errors)
    return Question(subject, asked.prompt, asked.completion, (asked.method,), asked.task, asked.k)


def _subject(session: Session, query_set_id: str | None) -> Subject:
    found = find_subject(session, query_set_id)
    if found is not None:
        return found
    if query_set_id is not None:
        raise unaskable(FieldError("query_set", f"“{query_set_id}” names no set of prompts that may be asked beside"))
    raise not_found("There is nothing to ask about here yet: no method has a run.")


def _submit(
    request: Request,
    catalogue: Catalogue,
    settings: Settings,
    asked: QuestionRequest,
    question: Question,
    key: str | None,
) -> Asked:
    reader = reader_of(request)
    parameters = {**asked.model_dump(exclude={"method"}), "methods": [asked.method]}

    def once() -> Asked:
        return submit(
            catalogue,
            settings,
            question.requests,
            parameters,
            reader=None if reader is None else reader.hash,
            address=address_turn(request),
            idempotency_key=key,
        )

    try:
        return once()
    except IntegrityError:  # the same key came twice at one moment; by now the first one is there
        return once()


def question_json(session: Session, question_id: str, reader: str | None) -> tuple[dict[str, Any], bool] | None:
    """A question as one reader sees it, and whether it is open; None if there is none."""
    job = find_job(session, question_id)
    if job is None or job.kind != "rank":
        return None
    fields = _fields(job, _page_of(session, job.id, reader))
    if job.is_open:
        names = ("position", "stage", "progress", "seconds_left")
        return {**fields, **{name: getattr(job, name) for name in names}}, True
    return (fields | _ranking(session, job) if job.state == "done" else fields), False


def list_json(session: Session, asked: QuestionListParameters, reader: str | None, path: str) -> dict[str, Any] | None:
    """A reader's own questions, each once; None where ``after`` names none of them."""
    asks = asks_of(session, reader, MOST_ASKS) if reader is not None else []
    items: dict[str, dict[str, Any]] = {}
    for one in asks:
        for job in one.jobs:
            if job.kind == "rank" and job.id not in items:
                asked_at = one.created_at.isoformat()
                rest = {"prompt": job.parameters["prompt"], "method": job.method, "asked_at": asked_at}
                items[job.id] = {**_fields(job, f"/jobs/{one.id}"), **rest}
    names = list(items)
    if asked.after is not None and asked.after not in items:
        return None
    start = 0 if asked.after is None else names.index(asked.after) + 1
    page = names[start : start + asked.limit]
    more = start + asked.limit < len(names)
    return {
        "items": [items[name] for name in page],
        "next": address(path, {"limit": asked.limit, "after": page[-1]}) if more else None,
        "total": len(names),
    }


def _fields(job: JobView, url: str) -> dict[str, Any]:
    return {"id": job.id, "state": job.state, "url": url, "result_url": job.result_url, "error": job.error}


def _ranking(session: Session, job: JobView) -> dict[str, Any]:
    """The ranking of a job that is done, and the completion that it is for."""
    try:
        loaded = rankings.load_pinned(session, job.slug or "", [job.run_id or ""])
    except rankings.MissingRun:  # its run was removed and made again since
        loaded = None
    if loaded is None:
        return {"completion": job.parameters["completion"], "rankings": []}
    found = rankings.prompt_json(session, loaded, loaded.runs, job.parameters["k"])
    return {"completion": found["completion"], "rankings": found["rankings"]}


def _page_of(session: Session, job_id: str, reader: str | None) -> str:
    """The page of the newest ask for a job that is the reader's own or a program's, else the question's own address.

    A page says what was asked beside (other methods), and anybody can work out the id of a question.
    """
    statement = select(Ask.id).join(AskedJob, AskedJob.ask_id == Ask.id).where(AskedJob.job_id == job_id)
    theirs = Ask.reader.is_(None) if reader is None else or_(Ask.reader == reader, Ask.reader.is_(None))
    order = (Ask.reader.is_(None), Ask.created_at.desc(), Ask.id)
    found = session.scalar(statement.where(theirs).order_by(*order).limit(1))
    return f"/api/v1/questions/{job_id}" if found is None else f"/jobs/{found}"
