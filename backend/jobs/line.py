"""The order of the queue, and how long a reader will wait in it."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import median
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from backend.catalogue.models import Job

PAST_JOBS = 20
"""Finished jobs whose median says how long one will take."""


def queue_order() -> list[ColumnElement[Any]]:
    """What the queue is ordered by: urgency, then everybody's first job before anybody's second, then age."""
    turn = func.row_number().over(
        partition_by=func.coalesce(Job.asked_by, Job.id), order_by=(Job.priority, Job.queued_at, Job.id)
    )
    return [Job.priority.expression, turn, Job.queued_at.expression, Job.id.expression]


class Line:
    """The queued jobs in the order in which they will be worked on."""

    def __init__(self, session: Session) -> None:
        statement = select(Job.id, Job.kind, Job.run_id).where(Job.state == "queued").order_by(*queue_order())
        rows = session.execute(statement).all()
        self._kinds = [(kind, run_id) for _, kind, run_id in rows]
        self._places = {job_id: place for place, (job_id, _, _) in enumerate(rows, 1)}

    def position(self, job_id: str) -> int | None:
        """1 for the next to be worked on; None for a job that is not queued."""
        return self._places.get(job_id)

    def up_to(self, job_id: str) -> list[tuple[str, str | None]]:
        """(kind, run) of the jobs ahead, and of the job itself at the end."""
        return self._kinds[: self._places[job_id]]


class UsualTimes:
    """How many seconds the last jobs of a kind and run took (the median), each asked for once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[tuple[str, str | None], float | None] = {}

    def seconds(self, kind: str, run_id: str | None) -> float | None:
        """None where there were none."""
        if (kind, run_id) not in self._known:
            self._known[kind, run_id] = self._read(kind, run_id)
        return self._known[kind, run_id]

    def _read(self, kind: str, run_id: str | None) -> float | None:
        statement = (
            select(Job.started_at, Job.finished_at)
            .where(Job.kind == kind, Job.run_id == run_id, Job.state == "done", Job.started_at.is_not(None))
            .order_by(Job.finished_at.desc())
            .limit(PAST_JOBS)
        )
        rows = self._session.execute(statement)
        past = [(finished - began).total_seconds() for began, finished in rows if finished and began]
        return median(past) if past else None


def seconds_left(job: Job, line: Line | None, usual: UsualTimes) -> float | None:
    """Of a running job the rest of its usual time, of a queued one the usual times of all up to it.

    None where no job of its kind and run has been done yet, or it is closed.
    """
    if job.state == "queued" and line is not None and line.position(job.id) is not None:
        times = [usual.seconds(*kind) for kind in line.up_to(job.id)]
        return None if times[-1] is None else sum(seconds for seconds in times if seconds is not None)
    own = usual.seconds(job.kind, job.run_id) if job.state == "running" else None
    if own is None or job.started_at is None:
        return None
    return max(0.0, own - (datetime.now(UTC) - job.started_at).total_seconds())
