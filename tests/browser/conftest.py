"""A server on a free port, Debian's chromium, and pages that fail a test on any error or refused resource."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Request, sync_playwright

from app.main import create_app
from tests.app.example_annotations import add_annotations
from tests.app.example_catalogue import fill, open_empty, settings_for
from tests.app.example_comparison import add_comparison
from tests.app.example_measurements import add_measurements

ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def serving(home: Path, port: int = 0) -> Iterator[str]:
    """The address of a server over a home; open streams end with it."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = settings_for(home).model_copy(update={"development": True})
        app = create_app(settings)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        app.state.is_stopping = lambda: server.should_exit
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            yield address
        finally:
            server.should_exit = True
            thread.join(timeout=10)


@pytest.fixture(scope="session")
def browsed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("browsed")
    engine = open_empty(home)
    fill(engine, with_hostile=True)
    add_measurements(engine)
    add_comparison(engine)
    add_annotations(engine, home)
    engine.dispose()
    return home


@pytest.fixture(scope="session")
def address(browsed_home: Path) -> Iterator[str]:
    with serving(browsed_home) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        message = "there is no chromium on the PATH"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield made
        made.close()


@dataclass
class Watch:
    """What a page did that it must not, and what it asked for."""

    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def _note_failure(watch: Watch, request: Request) -> None:
    """An icon that is still on its way when the page is left is no fault."""
    if not ("favicon" in request.url and "ERR_ABORTED" in (request.failure or "")):
        watch.faults.append(f"failed: {request.url}")


def watched(page: Page) -> Watch:
    """Note errors, policy reports and requests of a page from now on."""
    watch = Watch()
    page.on("pageerror", lambda error: watch.faults.append(f"error: {error}"))
    page.on(
        "console",
        lambda message: watch.faults.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("request", lambda request: watch.requests.append(request.url))
    page.on("requestfailed", lambda request: _note_failure(watch, request))
    return watch
