"""The trail of what was written: who, when, what, and under which request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from backend.catalogue.account_models import AuditEvent


@dataclass(frozen=True, slots=True)
class Actor:
    """Who writes."""

    name: str
    user_id: int | None = None
    request_id: str | None = None


COMMAND_LINE = Actor("command line")


def note(session: Session, actor: Actor, action: str, subject: str, **details: Any) -> None:
    """Add to the trail, in the same transaction as what it tells of."""
    session.add(
        AuditEvent(
            at=datetime.now(UTC),
            user_id=actor.user_id,
            actor=actor.name,
            action=action,
            subject=subject,
            details=details,
            request_id=actor.request_id,
        )
    )
