"""Progress of long stages, written by whoever works and read by banners and `proponent status`.

Progress is worth a line on a page, never the work itself: a write that finds the catalogue locked waits for a
moment and is then dropped with a line in the log.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from backend.catalogue.database import write_session
from backend.catalogue.models import Stage
from backend.catalogue.processes import is_gone
from backend.core.errors import UserError

log = logging.getLogger(__name__)

LOST_AFTER = timedelta(seconds=60)
"""A running stage that has not been heard of for so long has lost its process."""

HEARTBEAT_SECONDS = 15.0
THROTTLE_SECONDS = 1.0
PROGRESS_BUSY_MILLISECONDS = 1_000
STATE_BUSY_MILLISECONDS = 15_000


@dataclass(frozen=True, slots=True)
class StageProgress:
    """One stage as pages and commands show it."""

    name: str
    title: str
    state: str
    """waiting, running, done, failed, or stopped: running once, by a process that is no more."""
    pipeline: str
    done: float
    total: float
    unit: str
    message: str
    started_at: datetime | None
    updated_at: datetime


class StageLog:
    """Writes the progress of the stages that this process works on; use from one thread."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._written = float("-inf")
        self._heartbeats: dict[str, threading.Event] = {}

    def plan(self, pipeline: str, stages: Sequence[tuple[str, str]]) -> None:
        """Replace a pipeline's list of stages by these (name, title), waiting; done ones stay done."""
        moment = datetime.now(UTC)

        def write(session: Session) -> None:
            known = {row.name: row for row in session.scalars(select(Stage))}
            names = {name for name, _ in stages}
            for row in known.values():
                if row.pipeline == pipeline and row.name not in names:
                    session.delete(row)
            for sequence, (name, title) in enumerate(stages):
                if name not in known:
                    session.add(_new(name, title, pipeline, sequence, moment))
                    continue
                row = known[name]
                row.title, row.pipeline, row.sequence = title, pipeline, sequence
                if row.state != "done":
                    row.state, row.done, row.message, row.updated_at = "waiting", 0.0, "", moment
                    row.host = row.process_id = row.started_at = None

        self._write(write, STATE_BUSY_MILLISECONDS)

    def begin(
        self, name: str, title: str | None = None, pipeline: str = "", total: float = 0.0, unit: str = ""
    ) -> None:
        """Mark a stage as running in this process, planned or not; it is kept alive until finish or fail."""
        moment = datetime.now(UTC)
        values: dict[str, Any] = {
            "state": "running",
            "done": 0.0,
            "total": total,
            "unit": unit,
            "message": "",
            "host": socket.gethostname(),
            "process_id": os.getpid(),
            "started_at": moment,
            "updated_at": moment,
        }

        def write(session: Session) -> None:
            if session.get(Stage, name) is None:
                session.add(_new(name, title or name, pipeline, 0, moment))
                session.flush()
            elif title is not None:
                values["title"] = title
            session.execute(update(Stage).where(Stage.name == name).values(values))

        self._write(write, STATE_BUSY_MILLISECONDS)
        self._keep_alive(name)
        self._written = float("-inf")

    def update(self, name: str, done: float, total: float = 0.0, unit: str = "", message: str = "") -> None:
        """Record how far a stage is; more than one call a second is dropped."""
        if time.monotonic() - self._written < THROTTLE_SECONDS:
            return
        self._written = time.monotonic()
        self._set(name, PROGRESS_BUSY_MILLISECONDS, done=done, total=total, unit=unit, message=message)

    def finish(self, name: str, message: str = "") -> None:
        """Mark a stage as done."""
        self._stop_heartbeat(name)
        self._set(name, STATE_BUSY_MILLISECONDS, state="done", done=Stage.total, message=message)

    def fail(self, name: str, message: str) -> None:
        """Mark a stage as failed, with the reason."""
        self._stop_heartbeat(name)
        self._set(name, STATE_BUSY_MILLISECONDS, state="failed", message=message)

    def list(self, session: Session, pipeline: str | None = None) -> list[StageProgress]:
        """All stages, or those of a pipeline, as ``list_stages``."""
        return list_stages(session, pipeline)

    def _set(self, name: str, busy_milliseconds: int, **values: Any) -> None:
        values["updated_at"] = datetime.now(UTC)
        self._write(
            lambda session: session.execute(update(Stage).where(Stage.name == name).values(values)),
            busy_milliseconds,
        )

    def _write(self, write: Callable[[Session], object], busy_milliseconds: int) -> None:
        try:
            with write_session(self.engine, busy_milliseconds, shown=False) as session:
                if self.engine.dialect.name == "postgresql":
                    session.connection().exec_driver_sql(f"SET LOCAL lock_timeout = {busy_milliseconds}")
                write(session)
        except (UserError, SQLAlchemyError) as error:
            log.warning("progress could not be written: %s", error)

    def _keep_alive(self, name: str) -> None:
        """Touch the row now and then, also through steps that report nothing for minutes."""
        self._stop_heartbeat(name)
        stop = self._heartbeats[name] = threading.Event()

        def beat() -> None:
            while not stop.wait(HEARTBEAT_SECONDS):
                self._set(name, PROGRESS_BUSY_MILLISECONDS)

        threading.Thread(target=beat, name=f"heartbeat of {name}", daemon=True).start()

    def _stop_heartbeat(self, name: str) -> None:
        stop = self._heartbeats.pop(name, None)
        if stop is not None:
            stop.set()


def list_stages(session: Session, pipeline: str | None = None) -> list[StageProgress]:
    """Every stage in its pipeline's order; a running one whose process is gone reads as stopped."""
    query = select(Stage).order_by(Stage.pipeline, Stage.sequence, Stage.name)
    if pipeline is not None:
        query = query.where(Stage.pipeline == pipeline)
    moment = datetime.now(UTC)
    return [
        StageProgress(
            name=row.name,
            title=row.title,
            state="stopped" if row.state == "running" and _is_lost(row, moment) else row.state,
            pipeline=row.pipeline,
            done=row.done,
            total=row.total,
            unit=row.unit,
            message=row.message,
            started_at=row.started_at,
            updated_at=row.updated_at,
        )
        for row in session.scalars(query)
    ]


def _is_lost(row: Stage, moment: datetime) -> bool:
    if moment - row.updated_at > LOST_AFTER:
        return True
    return is_gone(row.host, row.process_id, row.started_at)


def _new(name: str, title: str, pipeline: str, sequence: int, moment: datetime) -> Stage:
    return Stage(
        name=name,
        title=title,
        state="waiting",
        sequence=sequence,
        pipeline=pipeline,
        done=0.0,
        total=0.0,
        unit="",
        message="",
        updated_at=moment,
    )
