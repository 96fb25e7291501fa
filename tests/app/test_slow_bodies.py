"""Bodies that come too slowly or not to their end, and writers that would keep readers waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from app.http.database import WRITERS, Catalogue
from app.http.limits import BodyLimit
from app.main import create_app
from backend.catalogue.database import CatalogueError
from tests.app.example_catalogue import settings_for

HEADERS = [(b"host", b"testserver"), (b"content-type", b"application/x-www-form-urlencoded")]
SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/ask",
    "raw_path": b"/ask",
    "query_string": b"",
    "root_path": "",
    "scheme": "http",
    "headers": HEADERS,
    "client": ("testclient", 1),
    "server": ("testserver", 80),
}


def status_of(home: Path, messages: list[Message], seconds: float) -> int:
    """The status of the answer to a body of these messages, after which nothing comes."""
    sent: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.sleep(30)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        app = create_app(settings_for(home))
        await BodyLimit(app, 1_000_000, seconds)(dict(SCOPE), receive, send)

    asyncio.run(asyncio.wait_for(run(), 20))
    return next(int(message["status"]) for message in sent if message["type"] == "http.response.start")


def test_a_body_that_does_not_end_is_not_waited_for(full_home: Path) -> None:
    begun: Message = {"type": "http.request", "body": b"prompt=A", "more_body": True}
    assert status_of(full_home, [begun], 0.1) == 408


def test_a_client_that_leaves_is_no_fault(full_home: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun: Message = {"type": "http.request", "body": b"prompt=A", "more_body": True}
    assert status_of(full_home, [begun, {"type": "http.disconnect"}], 10) == 499
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_few_write_at_a_time(full_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.database.WRITER_SECONDS", 0.05)
    catalogue = Catalogue(settings_for(full_home))
    assert catalogue.found
    for _ in range(WRITERS):
        assert catalogue._writers.acquire(timeout=0)
    with pytest.raises(CatalogueError, match="wait to write"), catalogue.write(shown=False):
        pass
    with catalogue.read() as session:
        assert session.get_bind() is not None, "readers go on"
    catalogue._writers.release()
    with catalogue.write(shown=False):
        pass
    catalogue.close()
