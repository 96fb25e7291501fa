"""How an idle worker learns of a new job: within milliseconds, without a broker and without load."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine

from backend.catalogue.database import sqlite_module
from backend.jobs.client import BELL

LOOK_SECONDS = 0.01
"""Between two looks at SQLite's data version (some microseconds each)."""


class Bell:
    """Rings when the catalogue was written to (SQLite), or when a job was queued (PostgreSQL)."""

    def __init__(self, engine: Engine) -> None:
        self._sqlite = engine.dialect.name == "sqlite"
        if self._sqlite:
            self._connection: Any = sqlite_module().connect(engine.url.database or "")
            self._seen = self._version()
        else:
            self._connection = _listening(engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()

    def wait(self, seconds: float) -> None:
        """Return when there may be something new, after ``seconds`` at the latest."""
        if not self._sqlite:
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                pass
            return
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            version = self._version()
            if version != self._seen:
                self._seen = version
                return
            time.sleep(LOOK_SECONDS)

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def _listening(engine: Engine) -> Any:
    import psycopg

    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(url, autocommit=True)
    connection.execute(f"LISTEN {BELL}")
    return connection
