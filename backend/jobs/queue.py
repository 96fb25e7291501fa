"""The queue as workers use it: claiming with a lease, keeping it, ending a job exactly once.

Whatever ends a job names owner and attempt, so a worker that was thought dead and is not writes nothing. Clocks
of machines that share a catalogue must agree to within a few seconds.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.orm import Session

from backend.catalogue.database import write_session
from backend.catalogue.models import Job, Worker
from backend.catalogue.processes import is_gone
from backend.jobs.line import queue_order

LEASE = timedelta(seconds=30)
MOST_ATTEMPTS = 3
"""A job whose worker ended so often while it worked on it is given up."""

SILENT = timedelta(seconds=30)
"""A worker that was not heard of for so long is not counted as there."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job in a worker's hands."""

    id: str
    kind: str
    run_id: str | None
    model_id: str | None
    parameters: dict[str, Any]
    attempt: int
    queued_at: datetime


@dataclass(frozen=True, slots=True)
class Need:
    """What the head of the queue needs to have loaded."""

    kind: str
    run_id: str | None
    model_id: str | None


def register(engine: Engine, device: str) -> str:
    """Write a worker down; returns its id. Rows of workers that ended long ago are removed."""
    moment = datetime.now(UTC)
    host, process_id = socket.gethostname(), os.getpid()
    worker_id = f"{host}/{process_id}/{secrets.token_hex(4)}"
    row = {
        "id": worker_id,
        "host": host,
        "process_id": process_id,
        "device": device,
        "state": "loading",
        "message": "",
        "started_at": moment,
        "heartbeat_at": moment,
        "jobs_finished": 0,
        "lease_losses": 0,
        "scan_bytes": 0.0,
        "scan_seconds": 0.0,
    }
    with write_session(engine, shown=False) as session:
        session.execute(insert(Worker), [row])
    return worker_id


def live_workers(session: Session) -> list[Worker]:
    """Workers that are there, by their heartbeat and, on this machine, by their process."""
    heard = select(Worker).where(Worker.state != "ended", Worker.heartbeat_at > datetime.now(UTC) - SILENT)
    return [row for row in session.scalars(heard) if not is_gone(row.host, row.process_id, row.started_at)]


def set_worker(engine: Engine, worker_id: str, **values: Any) -> None:
    """Note what a worker is at; also its heartbeat."""
    with write_session(engine, shown=False) as session:
        change = update(Worker).where(Worker.id == worker_id)
        session.execute(change.values(heartbeat_at=datetime.now(UTC), **values))


def head_of_queue(session: Session) -> Need | None:
    """What the next job needs; None where nothing may be claimed."""
    row = session.execute(
        select(Job.kind, Job.run_id, Job.model_id).where(*_claimable()).order_by(*queue_order()).limit(1)
    ).one_or_none()
    return None if row is None else Need(*row)


def claim(engine: Engine, worker_id: str, need: Need, most: int) -> list[Claimed]:
    """Take up to ``most`` jobs with the same needs as ``need``, if they are still at the head of the queue."""
    moment = datetime.now(UTC)
    with write_session(engine, shown=False) as session:
        statement = select(Job.id, Job.kind, Job.run_id, Job.model_id).where(*_claimable()).order_by(*queue_order())
        chosen = []
        for row in session.execute(statement.limit(most)):
            if Need(row.kind, row.run_id, row.model_id) != need:
                break
            chosen.append(row.id)
        if not chosen:
            return []
        change = (
            update(Job)
            .where(Job.id.in_(_lockable(session, chosen)), Job.state == "queued")
            .values(
                state="running",
                stage="",
                progress=0.0,
                owner=worker_id,
                attempt=Job.attempt + 1,
                lease_until=moment + LEASE,
                started_at=moment,
            )
            .returning(Job.id, Job.kind, Job.run_id, Job.model_id, Job.parameters, Job.attempt, Job.queued_at)
            .execution_options(synchronize_session=False)
        )
        taken = {row.id: Claimed(*row) for row in session.execute(change)}
    return [taken[job_id] for job_id in chosen if job_id in taken]


def renew(engine: Engine, worker_id: str) -> set[str]:
    """Prolong the leases of a worker's jobs; returns which it still holds."""
    with write_session(engine, shown=False) as session:
        change = (
            update(Job)
            .where(Job.owner == worker_id, Job.state == "running")
            .values(lease_until=datetime.now(UTC) + LEASE)
            .returning(Job.id)
            .execution_options(synchronize_session=False)
        )
        return set(session.scalars(change))


def set_stage(engine: Engine, worker_id: str, job_ids: Collection[str], stage: str, progress: float) -> None:
    """Note what jobs are at."""
    with write_session(engine, shown=False) as session:
        session.execute(
            update(Job)
            .where(Job.id.in_(job_ids), Job.owner == worker_id, Job.state == "running")
            .values(stage=stage, progress=progress)
            .execution_options(synchronize_session=False)
        )


def end(session: Session, worker_id: str, job: Claimed, **values: Any) -> bool:
    """End a job in the caller's transaction; False, and nothing changed, where it is no longer this worker's."""
    change = (
        update(Job)
        .where(Job.id == job.id, Job.owner == worker_id, Job.attempt == job.attempt, Job.state == "running")
        .values(
            finished_at=datetime.now(UTC), owner=None, lease_until=None, asked_by=None, stage="", progress=1.0, **values
        )
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    return session.scalar(change) is not None


def fail(engine: Engine, worker_id: str, job: Claimed, reason: str) -> bool:
    """End a job as failed, with a reason for its reader."""
    with write_session(engine, shown=False) as session:
        return end(session, worker_id, job, state="failed", error=reason)


def fail_queued(engine: Engine, need: Need, reason: str) -> int:
    """Fail every queued job that needs what cannot be loaded; returns how many."""
    with write_session(engine, shown=False) as session:
        change = (
            update(Job)
            .where(Job.state == "queued", Job.kind == need.kind)
            .where(Job.run_id == need.run_id, Job.model_id == need.model_id)
            .values(state="failed", error=reason, finished_at=datetime.now(UTC), asked_by=None)
            .returning(Job.id)
            .execution_options(synchronize_session=False)
        )
        return len(session.scalars(change).all())


def hand_back(engine: Engine, worker_id: str) -> int:
    """Queue a worker's jobs again, as if they had not been claimed; returns how many."""
    with write_session(engine, shown=False) as session:
        change = (
            update(Job)
            .where(Job.owner == worker_id, Job.state == "running")
            .values(**_QUEUED, attempt=Job.attempt - 1)
            .returning(Job.id)
            .execution_options(synchronize_session=False)
        )
        return len(session.scalars(change).all())


def put_back_all(connection: Connection) -> int:
    """Queue every running job again, for a catalogue that no worker has seen yet; returns how many."""
    change = update(Job).where(Job.state == "running").values(**_QUEUED, attempt=Job.attempt - 1)
    return connection.execute(change).rowcount


def put_back_abandoned(engine: Engine) -> int:
    """Queue jobs whose worker has ended or gone silent, or fail those that this has befallen too often.

    Of another machine's worker only the lease tells; of this machine's also its process. Returns how many.
    """
    moment = datetime.now(UTC)
    with write_session(engine, shown=False) as session:
        rows = session.execute(
            select(Job, Worker.host, Worker.process_id, Worker.started_at)
            .outerjoin(Worker, Worker.id == Job.owner)
            .where(Job.state == "running")
        ).all()
        lost = [
            job
            for job, host, process_id, began in rows
            if job.lease_until is None or job.lease_until < moment or is_gone(host, process_id, began)
        ]
        count = sum(_take_back(session, job, moment) for job in lost)
        gone = [row.id for row in session.scalars(select(Worker).where(Worker.state != "ended")) if _has_ended(row)]
        if gone:
            session.execute(update(Worker).where(Worker.id.in_(gone)).values(state="ended"))
        return count


def _take_back(session: Session, job: Job, moment: datetime) -> bool:
    """Queue a lost job or fail it; False where it has ended, or its lease was renewed, since it was looked at."""
    if job.attempt >= MOST_ATTEMPTS:
        values: dict[str, Any] = {
            "state": "failed",
            "error": f"The worker ended {job.attempt} times while it worked on this. Its log may say why.",
            "finished_at": moment,
            "asked_by": None,
            "owner": None,
            "lease_until": None,
        }
    else:
        values = _QUEUED
    change = (
        update(Job)
        .where(Job.id == job.id, Job.state == "running", Job.owner == job.owner, Job.attempt == job.attempt)
        .where(Job.lease_until == job.lease_until)
        .values(**values)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    if session.scalar(change) is None:
        return False
    session.execute(update(Worker).where(Worker.id == job.owner).values(lease_losses=Worker.lease_losses + 1))
    return True


_QUEUED: dict[str, Any] = {
    "state": "queued",
    "stage": "",
    "progress": 0.0,
    "owner": None,
    "lease_until": None,
    "started_at": None,
}


def _has_ended(row: Worker) -> bool:
    return row.heartbeat_at < datetime.now(UTC) - 2 * SILENT or is_gone(row.host, row.process_id, row.started_at)


def _claimable() -> list[Any]:
    """Queued jobs of readers whom no worker serves at the moment."""
    served = select(func.coalesce(Job.asked_by, "")).where(Job.state == "running")
    return [Job.state == "queued", func.coalesce(Job.asked_by, Job.id).not_in(served)]


def _lockable(session: Session, job_ids: Collection[str]) -> Any:
    """Of these jobs those that no other transaction holds; SQLite has one writer anyway."""
    if session.get_bind().dialect.name != "postgresql":
        return job_ids
    return select(Job.id).where(Job.id.in_(job_ids)).with_for_update(skip_locked=True)
