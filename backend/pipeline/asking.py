"""`proponent ask`: put a question into the queue and wait for its answer."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from sqlalchemy import Engine

from backend.catalogue.database import read_session, write_session
from backend.catalogue.prompts import (
    passages_by_pk,
    prompt_by_slug,
    ranked_fields,
    ranked_rows,
    rankings_of_prompt,
)
from backend.catalogue.withheld import SEES_WITHHELD
from backend.core.artifacts import Home
from backend.core.errors import InputError, UserError
from backend.core.records import TASKS
from backend.jobs.checking import complaints
from backend.jobs.client import JobView, ask, find_job
from backend.jobs.queue import live_workers
from backend.jobs.records import JobRequest
from backend.jobs.subjects import Subject, find_subject
from backend.settings import Settings

LOOK_SECONDS = 0.05
PATIENCE_SECONDS = 20.0
"""How long no worker may be heard of: one that died is started again meanwhile."""


def ask_and_wait(
    settings: Settings,
    engine: Engine,
    prompt: str,
    completion: str | None,
    method: str,
    task: str | None,
    k: int,
    query_set_id: str | None = None,
) -> dict[str, Any]:
    """The answer to a question in the shape of the API's; it waits for a worker, or scores here where there is none.

    Raises InputError naming what is wrong with the question, and UserError with the reason where it failed.
    """
    with read_session(engine) as session:
        subject = find_subject(session, query_set_id)
    if subject is None:
        raise UserError("There is nothing to ask about yet.", "Run `proponent demo`, or import a corpus and rank.")
    request = _request(settings, subject, prompt, completion, method, task, k)
    with write_session(engine) as session:
        given = {"prompt": prompt, "completion": completion, "methods": [method], "task": task, "k": k}
        ask(session, [request], given, most_queued=settings.queued_questions)
    return _answer(engine, _wait(settings, engine, request.key), k)


def _request(
    settings: Settings, subject: Subject, prompt: str, completion: str | None, method: str, task: str | None, k: int
) -> JobRequest:
    found = complaints(Home(settings.home.absolute()), subject.model_id, prompt, completion)
    if found:
        raise InputError(" ".join(complaint.sentence for complaint in found))
    if method not in subject.runs:
        raise InputError(f"There is no run of {method!r} here.", f"There are runs of {', '.join(subject.runs)}.")
    if task is not None and task not in TASKS:
        raise InputError(f"There is no task {task!r}.", f"Known: {', '.join(TASKS)}.")
    if completion is None and subject.model_id is None:
        raise InputError("There is no model here that could complete the prompt.", "Give the completion too.")
    return subject.rank_request(method, prompt, completion, task, k)


def _wait(settings: Settings, engine: Engine, job_id: str) -> JobView:
    """The job when it has ended; with no worker about, this process is one until then."""
    with read_session(engine) as session:
        job = find_job(session, job_id)
        alone = not live_workers(session)
    if job is not None and job.is_open and alone:
        from backend.jobs.worker import work
        from backend.logs import configure

        print("No worker is running: scoring here.", file=sys.stderr)
        configure("WARNING")
        work(settings, threads=settings.threads or len(os.sched_getaffinity(0)), once=True)
    heard = time.monotonic()
    while True:
        with read_session(engine) as session:
            job = find_job(session, job_id)
            heard = time.monotonic() if live_workers(session) else heard
        if job is not None and job.is_open and time.monotonic() - heard > PATIENCE_SECONDS:
            raise UserError("The question waits, and no worker is running.", "Start one: `proponent worker`.")
        if job is None or not job.is_open:
            break
        time.sleep(LOOK_SECONDS)
    if job is None or job.state != "done":
        reason = "the question is gone" if job is None else job.error or f"it was {job.state}"
        raise UserError(f"There is no answer: {reason}")
    return job


def _answer(engine: Engine, job: JobView, k: int) -> dict[str, Any]:
    with read_session(engine) as session:
        found = prompt_by_slug(session, job.slug or "")
        rankings = rankings_of_prompt(session, found[0].pk, [job.run_id or ""]) if found else []
        if found is None or not rankings:
            raise UserError("The answer is gone.", "Ask again.")
        rows = [row for row in ranked_rows(session, [rankings[0].pk]) if abs(row.rank) <= k]
        session.info[SEES_WITHHELD] = True
        passages = passages_by_pk(session, {row.passage_pk for row in rows})
        sides = {
            side: [
                ranked_fields(row, passages[row.passage_pk])
                for row in sorted(rows, key=lambda row: abs(row.rank))
                if row.rank * sign > 0
            ]
            for side, sign in (("proponents", 1), ("opponents", -1))
        }
    return {
        "id": job.id,
        "state": job.state,
        "result_url": job.result_url,
        "prompt": found[0].prompt,
        "completion": found[0].completion,
        "rankings": [{"run": job.run_id, "method": job.method, **sides}],
    }
