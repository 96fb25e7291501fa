"""Asking, and reading how far the answer is: what the web application and the command line use; no torch.

Every function takes a session of the caller's: an ask and its jobs are one transaction.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from backend.catalogue.models import Ask, AskedJob, Job, Prompt, Ranking, Run
from backend.core.errors import UserError
from backend.jobs.line import Line, UsualTimes, seconds_left
from backend.jobs.records import OPEN, JobRequest, asked_slug
from backend.jobs.subjects import answering_set

BELL = "proponent_jobs"
"""Channel on which PostgreSQL tells workers of a new job."""


class QueueFull(UserError):
    """More questions wait than the installation takes."""


class IdempotencyConflict(UserError):
    """An Idempotency-Key came again with another question."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What asking led to."""

    ask_id: str
    job_ids: list[str]
    new: bool
    """True if some job was not known, or is tried again."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as readers see it."""

    id: str
    kind: str
    run_id: str | None
    method: str | None
    model_id: str | None
    parameters: dict[str, Any]
    state: str
    stage: str
    progress: float
    position: int | None
    """1 for the next to be worked on; None unless queued."""
    seconds_left: float | None
    """Until it is done, from past jobs of its kind and run; None where there are none, or it is closed."""
    error: str | None
    result: dict[str, Any] | None
    slug: str | None
    """Of the prompt on whose page the result is."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether there is something to wait for."""
        return self.state in OPEN

    @property
    def result_url(self) -> str | None:
        """The permalink of a finished ranking."""
        ranked = self.state == "done" and self.kind != "complete" and self.run_id and self.slug
        return f"/r/{self.run_id}/{self.slug}" if ranked else None


@dataclass(frozen=True, slots=True)
class AskView:
    """An ask with its jobs, in the order of its methods."""

    id: str
    reader: str | None
    created_at: datetime
    cancelled_at: datetime | None
    parameters: dict[str, Any]
    jobs: list[JobView]

    @property
    def state(self) -> str:
        """cancelled; running or queued while a job is; done if any job succeeded; else failed."""
        states = {job.state for job in self.jobs}
        if self.cancelled_at is not None:
            return "cancelled"
        return next((state for state in ("running", "queued", "done", "failed") if state in states), "cancelled")

    @property
    def result_url(self) -> str | None:
        """The permalink of all finished rankings side by side; None before the last job has ended."""
        done = [job for job in self.jobs if job.result_url is not None]
        if not done or any(job.is_open for job in self.jobs):
            return None
        return f"/r/{'+'.join(job.run_id or '' for job in done)}/{done[0].slug}"


def ask(
    session: Session,
    requests: Sequence[JobRequest],
    parameters: Mapping[str, Any],
    *,
    reader: str | None = None,
    turn_of: str | None = None,
    idempotency_key: str | None = None,
    most_queued: int = 1_000,
) -> Asked:
    """Make sure that a job stands for every request, and note who asks (in a write session).

    ``reader`` (a hash) finds the ask in their own list, ``turn_of`` is whom the queue counts it for. A job that
    failed or was cancelled is tried again. Raises QueueFull, or IdempotencyConflict where the key came with
    another question.
    """
    if idempotency_key is not None:
        known = session.scalars(select(Ask).where(Ask.idempotency_key == idempotency_key)).one_or_none()
        if known is not None:
            if known.parameters != dict(parameters):
                raise IdempotencyConflict(
                    "This Idempotency-Key was used for another question.", "Send a new key with a new question."
                )
            return Asked(known.id, _job_ids(session, known.id), new=False)
    moment = datetime.now(UTC)
    jobs = _locked_jobs(session, [request.key for request in requests])
    waiting = [r for r in requests if r.key not in jobs or jobs[r.key].state in ("failed", "cancelled")]
    answered = {r.key: _answered(session, r) for r in waiting}
    queued = sum(prompt_pk is None for prompt_pk in answered.values())
    if queued and queue_depth(session) + queued > most_queued:
        raise QueueFull(f"{most_queued:,} questions are waiting already.", "Ask again in a few minutes.")
    for place, request in enumerate(waiting):
        at = moment + timedelta(microseconds=place)  # the methods of one question in their order
        _put(session, request, jobs.get(request.key), answered[request.key], turn_of, at)
    asked = Ask(
        id=secrets.token_hex(12),
        reader=reader,
        created_at=moment,
        parameters=dict(parameters),
        idempotency_key=idempotency_key,
    )
    session.add(asked)
    session.flush()
    keys = list(dict.fromkeys(request.key for request in requests))
    session.add_all(AskedJob(ask_id=asked.id, job_id=key, position=place) for place, key in enumerate(keys))
    session.flush()
    if queued and session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"NOTIFY {BELL}"))
    return Asked(asked.id, keys, new=bool(queued))


def cancel(session: Session, ask_id: str) -> bool:
    """Take one asker's interest back; jobs that nobody else waits for are cancelled (in a write session).

    Returns False where there is no such ask or nothing in it is open. A worker that is at such a job writes
    nothing of it.
    """
    asked = session.get(Ask, ask_id)
    if asked is None or asked.cancelled_at is not None:
        return False
    jobs = _locked_jobs(session, _job_ids(session, ask_id))
    open_jobs = {job.id for job in jobs.values() if job.state in OPEN}
    if not open_jobs:
        return False
    moment = datetime.now(UTC)
    asked.cancelled_at = moment
    session.flush()
    wanted = set(
        session.scalars(
            select(AskedJob.job_id)
            .join(Ask, Ask.id == AskedJob.ask_id)
            .where(AskedJob.job_id.in_(open_jobs), Ask.cancelled_at.is_(None))
        )
    )
    session.execute(
        update(Job)
        .where(Job.id.in_(open_jobs - wanted), Job.state.in_(OPEN))
        .values(state="cancelled", finished_at=moment, owner=None, lease_until=None, asked_by=None, stage="")
        .execution_options(synchronize_session=False)
    )
    return True


def has_asked(session: Session, reader: str) -> bool:
    """Whether a reader has asked before."""
    return session.scalar(select(Ask.id).where(Ask.reader == reader).limit(1)) is not None


def find_ask(session: Session, ask_id: str) -> AskView | None:
    """An ask by its id; None if there is none."""
    found = session.get(Ask, ask_id)
    return None if found is None else _views(session, [found])[0]


def asks_of(session: Session, reader: str, limit: int) -> list[AskView]:
    """A reader's own asks, newest first."""
    statement = select(Ask).where(Ask.reader == reader).order_by(Ask.created_at.desc(), Ask.id).limit(limit)
    return _views(session, list(session.scalars(statement)))


def find_job(session: Session, job_id: str) -> JobView | None:
    """A job by its id; None if there is none."""
    rows = session.execute(_jobs().where(Job.id == job_id)).all()
    return _job_views(session, rows)[job_id] if rows else None


def find_jobs(session: Session, job_ids: Sequence[str]) -> list[JobView]:
    """The named jobs that there are, in this order."""
    found = _job_views(session, session.execute(_jobs().where(Job.id.in_(job_ids))).all())
    return [found[job_id] for job_id in job_ids if job_id in found]


def queue_depth(session: Session) -> int:
    """How many jobs are queued."""
    return session.scalar(select(func.count()).select_from(Job).where(Job.state == "queued")) or 0


def _put(
    session: Session, request: JobRequest, known: Job | None, prompt_pk: int | None, turn_of: str | None, at: datetime
) -> None:
    """Queue a job, or write it down as done where its answer is there already."""
    values: dict[str, Any] = {
        "state": "queued" if prompt_pk is None else "done",
        "asked_by": turn_of if prompt_pk is None else None,
        "queued_at": at,
        "attempt": 0,
        "owner": None,
        "lease_until": None,
        "started_at": None,
        "finished_at": None if prompt_pk is None else at,
        "error": None,
        "stage": "",
        "progress": 0.0,
        "prompt_pk": prompt_pk,
    }
    if known is not None:
        for name, value in values.items():
            setattr(known, name, value)
        session.flush()
        return
    row = {
        "id": request.key,
        "kind": request.kind,
        "run_id": request.run_id,
        "model_id": request.model_id,
        "parameters": request.parameters,
        "priority": 0,
        "created_at": at,
        "result": None,
        **values,
    }
    # Another reader may ask the very same at this moment: their row is as good.
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(Job).values(row).on_conflict_do_nothing(index_elements=[Job.id]))


def _answered(session: Session, request: JobRequest) -> int | None:
    """The prompt under which a run ranks for this question already (it was asked with another k)."""
    if request.kind != "rank" or request.run_id is None or request.parameters["completion"] is None:
        return None
    query_set_id = answering_set(session, request.run_id)
    if query_set_id is None:
        return None
    given = request.parameters
    slug = asked_slug(query_set_id, given["prompt"], given["completion"], given["task"])
    statement = select(Prompt.pk).join(Ranking, Ranking.prompt_pk == Prompt.pk)
    return session.scalar(statement.where(Prompt.slug == slug, Ranking.run_id == request.run_id))


def _locked_jobs(session: Session, job_ids: Sequence[str]) -> dict[str, Job]:
    """The jobs that there are, held until the transaction ends: nobody asks for them or cancels them meanwhile."""
    statement = select(Job).where(Job.id.in_(job_ids)).order_by(Job.id).with_for_update()
    return {row.id: row for row in session.scalars(statement.execution_options(populate_existing=True))}


def _job_ids(session: Session, ask_id: str) -> list[str]:
    statement = select(AskedJob.job_id).where(AskedJob.ask_id == ask_id).order_by(AskedJob.position)
    return list(session.scalars(statement))


def _views(session: Session, asks: Sequence[Ask]) -> list[AskView]:
    links = session.execute(
        select(AskedJob.ask_id, AskedJob.job_id)
        .where(AskedJob.ask_id.in_([asked.id for asked in asks]))
        .order_by(AskedJob.position)
    ).all()
    rows = session.execute(_jobs().where(Job.id.in_({job_id for _, job_id in links}))).all()
    jobs = _job_views(session, rows)
    return [
        AskView(
            id=asked.id,
            reader=asked.reader,
            created_at=asked.created_at,
            cancelled_at=asked.cancelled_at,
            parameters=asked.parameters,
            jobs=[jobs[job_id] for ask_id, job_id in links if ask_id == asked.id],
        )
        for asked in asks
    ]


def _jobs() -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = (
        select(Job, Run.method, Prompt.slug)
        .outerjoin(Run, Run.id == Job.run_id)
        .outerjoin(Prompt, Prompt.pk == Job.prompt_pk)
    )
    return statement


def _job_views(session: Session, rows: Sequence[Any]) -> dict[str, JobView]:
    line = Line(session) if any(job.state == "queued" for job, _, _ in rows) else None
    usual = UsualTimes(session)
    return {
        job.id: JobView(
            id=job.id,
            kind=job.kind,
            run_id=job.run_id,
            method=method,
            model_id=job.model_id,
            parameters=job.parameters,
            state=job.state,
            stage=job.stage,
            progress=job.progress,
            position=line.position(job.id) if line is not None else None,
            seconds_left=seconds_left(job, line, usual),
            error=job.error,
            result=job.result,
            slug=slug,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
        )
        for job, method, slug in rows
    }
