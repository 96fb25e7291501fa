"""Tables of who may do what: users, their sessions and tokens, and the trail of what was written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.catalogue.base import Base


class User(Base):
    """A person with a name here. Users are disabled, never deleted: what they wrote keeps its author."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    """In lower case; what they sign in with, and what others see of them."""
    role: Mapped[str]
    """reader, annotator, curator or admin: each may do what those before it may."""
    password_hash: Mapped[str | None]
    """Argon2id; None for somebody who cannot sign in, such as the author of imported annotations."""
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class UserSession(Base):
    """A browser that is signed in. Revoking a session deletes its row."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    """SHA-256 of the cookie's secret."""
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """To the hour."""
    expires_at: Mapped[datetime]
    agent: Mapped[str]
    """What the browser calls itself, cut."""


class ApiToken(Base):
    """A secret with which a program acts for a user."""

    __tablename__ = "api_tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    """What it is called in lists and the trail; not the secret."""
    secret_hash: Mapped[str] = mapped_column(unique=True)
    """SHA-256 of the secret."""
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    scope: Mapped[str]
    """The role that it acts in, at most its user's."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    """To the hour."""
    revoked_at: Mapped[datetime | None]


class AuditEvent(Base):
    """Something that somebody wrote or was refused; only ever added to."""

    __tablename__ = "audit_events"
    __table_args__ = (Index("ix_audit_events_user", "user_id", "pk"),)

    pk: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """None for the command line, and for a sign-in that failed."""
    actor: Mapped[str]
    """The user's name, or ``command line``."""
    action: Mapped[str]
    """Such as ``sign-in`` or ``user.disable``."""
    subject: Mapped[str]
    """What it was done to."""
    details: Mapped[dict[str, Any]]
    request_id: Mapped[str | None]
    """Number of the request in the server's log."""
