"""The admin's pages: what their templates show and what their JSON twins hold."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.accounts.own import TokenRow, token_row
from app.admin.parameters import LIMIT, TrailFilter, TrailParameters
from app.http.formats import address
from backend.accounts.access import tokens_of
from backend.accounts.roles import ORDER
from backend.accounts.users import all_users
from backend.catalogue.account_models import AuditEvent, User, UserSession
from backend.catalogue.annotation_models import Annotation, Pool
from backend.catalogue.job_models import Job, Worker
from backend.jobs.overview import ENDED_BADLY, count_by_state, latest_jobs
from backend.jobs.queue import live_workers
from backend.jobs.records import OPEN

JOBS = 100
BATCH = 1_000
DONE = {
    "role": "The role is changed.",
    "disabled": "The user is disabled: sessions have ended, tokens are revoked.",
    "enabled": "The user may sign in again.",
    "revoked": "The token is worthless now.",
    "put-back": "The job is queued again.",
    "cancelled": "The job is cancelled.",
}


@dataclass(frozen=True, slots=True)
class AdminHome:
    """The overview."""

    users: int
    sessions: int
    tokens: int
    annotations: int
    pools: int
    jobs: dict[str, int]
    workers: list[Worker]
    latest: list[AuditEvent]


def build_home(session: Session) -> AdminHome:
    """The overview."""

    def count(column: Any, *conditions: ColumnElement[bool]) -> int:
        return session.scalar(select(func.count(column)).where(*conditions)) or 0

    return AdminHome(
        users=count(User.id, User.disabled_at.is_(None)),
        sessions=count(UserSession.id),
        tokens=sum(token_row(token, name).works for token, name in tokens_of(session)),
        annotations=count(Annotation.id, Annotation.deleted_at.is_(None)),
        pools=count(Pool.id),
        jobs=count_by_state(session),
        workers=live_workers(session),
        latest=list(session.scalars(select(AuditEvent).order_by(AuditEvent.pk.desc()).limit(10))),
    )


def home_json(page: AdminHome) -> dict[str, Any]:
    """The JSON twin."""
    return {
        "users": page.users,
        "sessions": page.sessions,
        "tokens": page.tokens,
        "annotations": page.annotations,
        "pools": page.pools,
        "jobs": page.jobs,
        "workers": len(page.workers),
    }


@dataclass(frozen=True, slots=True)
class UsersPage:
    """All users."""

    users: list[User]
    roles: tuple[str, ...] = tuple(role.value for role in ORDER)
    secret: tuple[str, str] | None = None
    """(name, password) that was made just now; shown this once."""
    typed: str = ""
    fault: str = ""
    done: str = ""


def build_users(
    session: Session,
    *,
    done: str | None = None,
    secret: tuple[str, str] | None = None,
    typed: str = "",
    fault: str = "",
) -> UsersPage:
    """All users, with what was done just now."""
    return UsersPage(all_users(session), secret=secret, typed=typed, fault=fault, done=DONE.get(done or "", ""))


def user_json(user: User) -> dict[str, Any]:
    """A user."""
    return {
        "name": user.name,
        "role": user.role,
        "created_at": user.created_at.isoformat(),
        "disabled_at": _moment(user.disabled_at),
        "has_password": user.password_hash is not None,
    }


def new_password() -> str:
    """A password for somebody's first sign-in: 96 random bits, easy to read out."""
    return "-".join(secrets.token_hex(3) for _ in range(4))


@dataclass(frozen=True, slots=True)
class TokensPage:
    """All tokens."""

    rows: list[TokenRow]
    done: str


def build_tokens(session: Session, done: str | None = None) -> TokensPage:
    """All tokens."""
    return TokensPage([token_row(token, name) for token, name in tokens_of(session)], DONE.get(done or "", ""))


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job."""

    job: Job
    is_open: bool
    ended_badly: bool


@dataclass(frozen=True, slots=True)
class JobsPage:
    """The queue."""

    counts: dict[str, int]
    rows: list[JobRow]
    workers: list[Worker]
    done: str = ""


def build_jobs(session: Session, done: str | None = None) -> JobsPage:
    """The queue."""
    rows = [JobRow(job, job.state in OPEN, job.state in ENDED_BADLY) for job in latest_jobs(session, JOBS)]
    return JobsPage(count_by_state(session), rows, live_workers(session), DONE.get(done or "", ""))


def jobs_json(page: JobsPage) -> dict[str, Any]:
    """The JSON twin."""
    return {
        "counts": page.counts,
        "workers": len(page.workers),
        "items": [
            {
                "id": row.job.id,
                "kind": row.job.kind,
                "state": row.job.state,
                "stage": row.job.stage,
                "attempt": row.job.attempt,
                "error": row.job.error,
                "queued_at": row.job.queued_at.isoformat(),
                "started_at": _moment(row.job.started_at),
                "finished_at": _moment(row.job.finished_at),
            }
            for row in page.rows
        ],
    }


@dataclass(frozen=True, slots=True)
class TrailPage:
    """A page of the trail, the latest event first."""

    asked: TrailParameters
    events: list[AuditEvent]
    earlier: str | None
    exports: list[tuple[str, str]] = field(default_factory=list)


def build_trail(session: Session, asked: TrailParameters, path: str = "/admin/audit") -> TrailPage:
    """A page of the trail; ``path``: of the address of the next."""
    wanted = select(AuditEvent).where(*_narrowing(asked)).order_by(AuditEvent.pk.desc())
    if asked.before is not None:
        wanted = wanted.where(AuditEvent.pk < asked.before)
    events = list(session.scalars(wanted.limit(asked.limit + 1)))
    given = asked.model_dump(include={"user", "action"}, exclude_none=True)
    earlier = None
    if len(events) > asked.limit:
        limit = None if asked.limit == LIMIT else asked.limit
        earlier = address(path, {**given, "before": events[asked.limit - 1].pk, "limit": limit})
    exports = [(kind, address(f"/admin/audit.{kind.lower()}", given)) for kind in ("JSON", "CSV", "JSONL")]
    return TrailPage(asked, events[: asked.limit], earlier, exports)


TRAIL_COLUMNS = ("number", "at", "actor", "action", "subject", "details", "request_id")


def event_row(event: AuditEvent) -> dict[str, Any]:
    """An event as a row of a file."""
    return {
        "number": event.pk,
        "at": event.at.isoformat(),
        "actor": event.actor,
        "action": event.action,
        "subject": event.subject,
        "details": event.details,
        "request_id": event.request_id,
    }


def trail_rows(session: Session, asked: TrailFilter, *, as_text: bool) -> Iterator[dict[str, Any]]:
    """The whole trail, from the first event; ``as_text``: the details as JSON, for a table's cell."""
    last = 0
    while True:
        wanted = select(AuditEvent).where(AuditEvent.pk > last, *_narrowing(asked)).order_by(AuditEvent.pk)
        events = session.scalars(wanted.limit(BATCH)).all()
        for event in events:
            row = event_row(event)
            yield {**row, "details": json.dumps(event.details)} if as_text else row
        if len(events) < BATCH:
            return
        last = events[-1].pk


def _narrowing(asked: TrailFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if asked.user is not None:
        found.append(AuditEvent.actor == asked.user)
    if asked.action is not None:
        beginning = AuditEvent.action.startswith(f"{asked.action}.", autoescape=True)
        found.append(or_(AuditEvent.action == asked.action, beginning))
    return found


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
