"""Tables of what readers ask and of the workers that answer.

A job is unique by what it computes, so the same question twice is one job; an ask is one reader's interest in some
jobs. The job's row is the queue: there is no broker beside the catalogue.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from backend.catalogue.base import Base


class Job(Base):
    """A computation for readers: ranking passages for a question, completing a prompt, a tail-patch."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_queue", "state", "priority", "queued_at"),
        Index("ix_jobs_finished", "kind", "run_id", "finished_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    """Hash of kind, run or model, and parameters (``backend.jobs.records``)."""
    kind: Mapped[str]
    """rank, complete or tail-patch."""
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id"))
    """The run that a ranking is appended to, or whose list is tail-patched."""
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    """The model that it needs; None for a method that looks at none."""
    parameters: Mapped[dict[str, Any]]
    priority: Mapped[int] = mapped_column(default=0)
    """0 for a reader who waits; bulk work has higher numbers and comes later."""
    asked_by: Mapped[str | None]
    """Who asked first, while the job is open: readers take turns, and one has one worker at a time."""
    state: Mapped[str]
    """queued, running, done, failed or cancelled."""
    stage: Mapped[str] = mapped_column(default="")
    """What a running job is at: loading, completing, gradient, scan, saving, patching."""
    progress: Mapped[float] = mapped_column(default=0.0)
    """Share of the stage, from 0 to 1."""
    attempt: Mapped[int] = mapped_column(default=0)
    """How often it was claimed since it was queued; with the owner it fences a late finish."""
    owner: Mapped[str | None] = mapped_column(index=True)
    """Id of the worker that holds it."""
    lease_until: Mapped[datetime | None]
    """Until when the owner is believed alive."""
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None]
    """Why it failed, for readers."""
    result: Mapped[dict[str, Any] | None]
    """What it found beside rows of other tables: answers to choose from, tail-patch values, seconds of each stage."""
    prompt_pk: Mapped[int | None] = mapped_column(ForeignKey("prompts.pk"))
    """The prompt on whose page the result is."""


class Ask(Base):
    """One reader's question, to one or several methods."""

    __tablename__ = "asks"
    __table_args__ = (Index("ix_asks_reader", "reader", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    """Random: whoever has the address may look."""
    reader: Mapped[str | None]
    """Hash of the reader's cookie; None for a program without one."""
    created_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]
    parameters: Mapped[dict[str, Any]]
    """What was asked, as it was asked."""
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    """Hash of the client and the Idempotency-Key that it sent."""


class AskedJob(Base):
    """A job that an ask waits for."""

    __tablename__ = "asked_jobs"

    ask_id: Mapped[str] = mapped_column(ForeignKey("asks.id", ondelete="CASCADE"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True, index=True)
    position: Mapped[int]
    """Order of the methods in the ask."""


class Worker(Base):
    """A process that answers questions, by its own account."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    process_id: Mapped[int]
    device: Mapped[str]
    state: Mapped[str]
    """idle, loading, working or ended."""
    message: Mapped[str]
    """What it loads or works on, for pages."""
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    jobs_finished: Mapped[int] = mapped_column(default=0)
    lease_losses: Mapped[int] = mapped_column(default=0)
    """Jobs that it found another's, or put back, when it came to finish them."""
    scan_bytes: Mapped[float] = mapped_column(default=0.0)
    """Bytes of stores that it has scanned, and in how many seconds."""
    scan_seconds: Mapped[float] = mapped_column(default=0.0)
