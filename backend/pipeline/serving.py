"""Run the web application: in this process, or beside a pipeline in one of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from backend.core.errors import UserError
from backend.settings import Settings

GRACEFUL_SECONDS = 3
START_SECONDS = 60
WATCH_SECONDS = 0.1
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 10.0
"""Before a worker that died is started again; doubled each time."""

STEADY_SECONDS = 20.0
"""A worker that lived for so long does not fail at its start."""


def serve(settings: Settings, parent_pipe: int | None = None, worker: bool = False) -> None:
    """Serve until interrupted, with ``worker`` beside a process that answers questions.

    With ``parent_pipe`` (a file descriptor) also end when its other side is closed.
    """
    import uvicorn

    from app.main import create_app
    from backend.catalogue.database import migrate, open_catalogue
    from backend.logs import configure

    configure(settings.log_level)
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = open_catalogue(settings)
    migrate(engine)
    engine.dispose()
    _check_port(settings)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        log_level=settings.log_level.lower(),
        access_log=False,
        forwarded_allow_ips=settings.trusted_proxies,
        server_header=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    server = uvicorn.Server(config)
    app.state.is_stopping = lambda: server.should_exit  # open streams end by themselves then
    if parent_pipe is not None:

        def end_with_parent() -> None:
            os.read(parent_pipe, 1)
            server.should_exit = True

        threading.Thread(target=end_with_parent, daemon=True).start()
    # uvicorn raises the signal again when it has ended: this makes the worker's end come before this process's.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with worker_process(settings) if worker else nullcontext():
        server.run()


@dataclass(frozen=True)
class WebProcess:
    """A server in a process of its own."""

    url: str
    process: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Wait until the server ends."""
        self.process.wait()


@contextmanager
def web_process(settings: Settings) -> Iterator[WebProcess]:
    """Serve in another process while the block runs; it ends with this one, however this one ends.

    Raises UserError where the port is taken or the server does not answer.
    """
    port = _check_port(settings)
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "backend.cli", "serve", "--no-worker"]
    command += ["--host", settings.host, "--port", str(port)]
    command += ["--home", str(settings.home.absolute()), "--parent-pipe", str(reading)]
    quiet = {"PROPONENT_LOG_LEVEL": os.environ.get("PROPONENT_LOG_LEVEL", "WARNING")}  # the terminal shows progress
    process = subprocess.Popen(command, pass_fds=[reading], env={**os.environ, **quiet, "OMP_NUM_THREADS": "1"})
    os.close(reading)
    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    web = WebProcess(f"http://{shown}:{port}/", process)
    try:
        _wait_for(web)
        print(f"Browse at {web.url}", file=sys.stderr, flush=True)
        yield web
    finally:
        os.close(writing)
        process.terminate()
        process.wait(GRACEFUL_SECONDS + 10)


@contextmanager
def worker_process(settings: Settings) -> Iterator[None]:
    """Keep one worker running in another process while the block runs; one that dies is started again."""
    stopping = threading.Event()
    thread = threading.Thread(target=_keep_worker, args=(settings, stopping), name="worker's keeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(GRACEFUL_SECONDS + 10)


def _keep_worker(settings: Settings, stopping: threading.Event) -> None:
    command = [sys.executable, "-m", "backend.cli", "worker", "--home", str(settings.home.absolute())]
    pause = FIRST_PAUSE_SECONDS
    while not stopping.is_set():
        started = time.monotonic()
        reading, writing = os.pipe()
        process = subprocess.Popen([*command, "--parent-pipe", str(reading)], pass_fds=[reading])
        os.close(reading)
        while process.poll() is None and not stopping.wait(WATCH_SECONDS):
            pass
        os.close(writing)
        if stopping.is_set():
            process.terminate()
            try:
                process.wait(GRACEFUL_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            return
        lived = time.monotonic() - started
        pause = FIRST_PAUSE_SECONDS if lived > STEADY_SECONDS else min(2 * pause, LONGEST_PAUSE_SECONDS)
        print(
            f"The worker ended (exit code {process.returncode}); it is started again in {pause:g} s.", file=sys.stderr
        )
        stopping.wait(pause)


def _wait_for(web: WebProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if web.process.poll() is not None:
            raise UserError("The web server did not start.", "Its own message is above.")
        try:
            with urllib.request.urlopen(f"{web.url}healthz", timeout=2):  # noqa: S310  our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise UserError(f"The web server did not answer at {web.url} within {START_SECONDS} s.", "See its log above.")


def _check_port(settings: Settings) -> int:
    """The port to listen on, a free one for 0; raises UserError where it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
            return int(probe.getsockname()[1])
        except OSError as error:
            raise UserError(
                f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}).",
                "Choose another port with --port.",
            ) from error
