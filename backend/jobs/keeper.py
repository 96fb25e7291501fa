"""What keeps a worker's jobs: leases, progress, the time limit; and puts back what other workers left behind.

A thread with connections of its own, so that a computation that holds the interpreter for long loses no lease.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine as Database
from sqlalchemy.exc import SQLAlchemyError

from backend.core.errors import UserError
from backend.jobs import queue
from backend.jobs.queue import Claimed
from backend.logs import get_logger
from backend.settings import Settings

log = get_logger("proponent.worker")

BEAT_SECONDS = 5.0
PROGRESS_SECONDS = 0.2
GAVE_UP = 70
"""Exit code of a worker that could not stop a job that took too long."""


class Keeper(threading.Thread):
    """Leases, progress, the time limit; and other workers' leftovers."""

    def __init__(
        self, settings: Settings, database: Database, worker_id: str, numbers: Callable[[], dict[str, Any]]
    ) -> None:
        super().__init__(name="watch", daemon=True)
        self._settings, self._database, self._worker_id, self._numbers = settings, database, worker_id, numbers
        self._halt = threading.Event()
        self._lock = threading.Lock()
        self.state = "loading"
        """What the worker is at, as its row says."""
        self._jobs: dict[str, Claimed] = {}
        self._at: tuple[tuple[str, ...], str] = (), ""
        self._share = 0.0
        self._since = 0.0
        self._shown: tuple[tuple[tuple[str, ...], str], float] | None = None

    def took(self, jobs: Sequence[Claimed]) -> None:
        """These jobs are in hand."""
        with self._lock:
            self._jobs, self._since = {job.id: job for job in jobs}, time.monotonic()
            self._at = tuple(self._jobs), ""

    def released(self) -> None:
        """No job is in hand."""
        with self._lock:
            self._jobs, self._at = {}, ((), "")

    def at(self, job_ids: Sequence[str], stage: str, share: float) -> None:
        """Where jobs are; shown now and then, so that it costs the work nothing. Another stage has time of its own."""
        here = tuple(job_ids), stage
        with self._lock:
            if here != self._at:
                self._at, self._since = here, time.monotonic()
            self._share = share

    def stop(self) -> None:
        """End the thread."""
        self._halt.set()
        if self.is_alive():
            self.join(timeout=10)

    def run(self) -> None:
        beat = time.monotonic() + BEAT_SECONDS
        while not self._halt.wait(PROGRESS_SECONDS):
            try:
                self._show_progress()
                self._check_time()
                if time.monotonic() >= beat:
                    beat = time.monotonic() + BEAT_SECONDS
                    self._beat()
            except (UserError, SQLAlchemyError) as error:
                log.warning("the catalogue could not be written", reason=str(error))

    def _show_progress(self) -> None:
        with self._lock:
            here, share = self._at, self._share
        if here[1] and (here, share) != self._shown:
            queue.set_stage(self._database, self._worker_id, *here, share)
            self._shown = here, share

    def _beat(self) -> None:
        with self._lock:
            held = bool(self._jobs)
        if held:
            queue.renew(self._database, self._worker_id)
        state = "working" if held else self.state
        queue.set_worker(self._database, self._worker_id, state=state, **self._numbers())
        queue.put_back_abandoned(self._database)

    def _check_time(self) -> None:
        """Fail the questions whose step takes too long; a step of several has as many times as long.

        A computation cannot be interrupted, so the process ends; the questions beside it are handed back.
        """
        with self._lock:
            (ids, _), since = self._at, self._since
            jobs = [self._jobs[job_id] for job_id in ids if job_id in self._jobs]
        if not jobs or time.monotonic() - since < self._settings.job_seconds * len(jobs):
            return
        reason = f"This took longer than {self._settings.job_seconds:g} s, the limit for one question."
        if not any([queue.fail(self._database, self._worker_id, job, reason) for job in jobs]):
            return
        log.error("over the time limit", jobs=[job.id for job in jobs], limit=self._settings.job_seconds)
        queue.hand_back(self._database, self._worker_id)
        queue.set_worker(self._database, self._worker_id, state="ended", message="over the time limit")
        os._exit(GAVE_UP)
