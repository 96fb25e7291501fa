"""Run a worker in this process."""

from __future__ import annotations

import os
import signal
import sys
import threading

from backend.core.errors import UserError
from backend.settings import Settings


def run_worker(settings: Settings, *, once: bool = False, parent_pipe: int | None = None) -> None:
    """Answer questions until a signal comes; with ``parent_pipe`` also until its other side is closed.

    A worker beside a web server lets that go first. Raises UserError where there is no home.
    """
    if not settings.database_url and not settings.home.is_dir():
        raise UserError(f"There is no home {settings.home.absolute()}.", "Run `proponent demo` or import a corpus.")
    if parent_pipe is not None:

        def end_with_parent() -> None:
            os.read(parent_pipe, 1)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=end_with_parent, daemon=True).start()
    from backend.jobs.worker import work
    from backend.logs import configure

    configure(settings.log_level)
    threads = settings.threads or len(os.sched_getaffinity(0))
    finished = work(settings, threads=threads, background=parent_pipe is not None, once=once)
    if once:
        print(f"{finished} questions answered", file=sys.stderr)
