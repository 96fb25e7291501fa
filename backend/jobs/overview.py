"""The queue as an admin sees it: counts, the latest jobs, who works, and what can be done about a job."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from backend.catalogue.job_models import Ask, AskedJob, Job
from backend.jobs.records import OPEN

ENDED_BADLY = ("failed", "cancelled")


def count_by_state(session: Session) -> dict[str, int]:
    """State -> jobs in it."""
    return {state: count for state, count in session.execute(select(Job.state, func.count()).group_by(Job.state))}


def latest_jobs(session: Session, limit: int) -> list[Job]:
    """The jobs that were queued last."""
    return list(session.scalars(select(Job).order_by(Job.queued_at.desc(), Job.id).limit(limit)))


def put_back(session: Session, job_id: str) -> bool:
    """Queue a failed or cancelled job again, with all its attempts; False where it is not one (a write session)."""
    values = {"state": "queued", "attempt": 0, "error": None, "stage": "", "progress": 0.0, "asked_by": None}
    times = {"queued_at": datetime.now(UTC), "started_at": None, "finished_at": None}
    return _change(session, job_id, ENDED_BADLY, {**values, **times, "owner": None, "lease_until": None})


def cancel_for_all(session: Session, job_id: str) -> bool:
    """Cancel an open job, whoever waits for it; False where it is not open (a write session).

    A worker that is at it writes nothing of it.
    """
    values = {"state": "cancelled", "owner": None, "lease_until": None, "asked_by": None, "stage": ""}
    if not _change(session, job_id, OPEN, {**values, "finished_at": datetime.now(UTC)}):
        return False
    asks = select(AskedJob.ask_id).where(AskedJob.job_id == job_id)
    still_open = (
        select(AskedJob.ask_id).join(Job, Job.id == AskedJob.job_id).where(Job.state.in_(OPEN)).scalar_subquery()
    )
    ended = update(Ask).where(Ask.id.in_(asks), Ask.id.not_in(still_open), Ask.cancelled_at.is_(None))
    session.execute(ended.values(cancelled_at=datetime.now(UTC)).execution_options(synchronize_session=False))
    return True


def _change(session: Session, job_id: str, states: tuple[str, ...], values: dict[str, object]) -> bool:
    changed = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state.in_(states))
        .values(**values)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    return changed.first() is not None
