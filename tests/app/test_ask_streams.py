"""The stream of events of a question: what it sends, when it ends, and what it holds meanwhile."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app.ask import streams
from tests.app.fake_worker import FakeWorker
from tests.app.test_ask_jobs import ask
from tests.browser.conftest import serving


@contextmanager
def stream(address: str, url: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    connection.request("GET", f"{url}/events", headers={"accept": "text/event-stream"})
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def event(response: http.client.HTTPResponse) -> str:
    """The next event, or comment."""
    lines = []
    while line := response.readline().decode().rstrip("\n"):
        lines.append(line)
    return "\n".join(lines)


@pytest.fixture
def served(ask_home: Path, ask_engine: Engine) -> Iterator[str]:
    with serving(ask_home) as address:
        yield address


def until(true: Any) -> None:
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def test_events_tell_what_changes(asking: TestClient, ask_engine: Engine, served: str) -> None:
    url = ask(asking, method="bm25")
    with stream(served, url) as response:
        assert response.status == 200
        assert response.getheader("content-type", "").startswith("text/event-stream")
        assert "waiting, next in line" in event(response)
        worker = FakeWorker(ask_engine)
        assert "No worker is running" not in event(response)
        jobs = worker.claim()
        assert "being answered" in event(response)
        worker.at(jobs, "scan", 0.5)
        assert 'value="0.500"' in event(response)
        worker.finish(jobs[0])
        assert "data-arrive" in event(response)
        assert event(response) == "event: done\ndata: done"
        assert response.read() == b""


def test_events_of_what_has_ended(asking: TestClient, ask_engine: Engine) -> None:
    url = ask(asking)
    FakeWorker(ask_engine).work()
    answer = asking.get(f"{url}/events")
    assert answer.status_code == 200
    assert "See the passages" in answer.text
    assert answer.text.endswith("event: done\ndata: done\n\n")


def test_a_stream_says_that_it_is_there(asking: TestClient, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ALIVE_SECONDS", 0.1)
    with stream(served, ask(asking)) as response:
        event(response)
        assert event(response) == ": still here"


def test_a_stream_gives_up(asking: TestClient, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LONGEST_SECONDS", 0.5)
    with stream(served, ask(asking)) as response:
        assert "event: done" not in response.read().decode()


def test_no_session_is_held_between_two_looks(asking: TestClient, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    read_page = streams.read_page

    def counted(session: Any, ask_id: str) -> Any:
        held.append(1)
        found = read_page(session, ask_id)
        held.append(-1)
        return found

    monkeypatch.setattr(streams, "read_page", counted)
    with stream(served, ask(asking)) as response:
        event(response)
        time.sleep(0.6)
        assert sum(held) == 0
        assert held.count(1) <= 4, "it looks again only where something was written, or a second has passed"


def test_a_client_that_leaves_is_noticed(asking: TestClient, served: str) -> None:
    url = ask(asking)
    with stream(served, url) as response:
        event(response)
        assert streams.OPEN_STREAMS.count("127.0.0.1") == 1
    until(lambda: streams.OPEN_STREAMS.count("127.0.0.1") == 0)


def test_so_many_streams_and_no_more(asking: TestClient, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_STREAMS", 2)
    url = ask(asking)
    with stream(served, url) as first, stream(served, url) as second:
        event(first)
        event(second)
        with stream(served, url) as third:
            assert third.status == 429
            assert third.getheader("retry-after") == "5"
    until(lambda: streams.OPEN_STREAMS.count("127.0.0.1") == 0)
    with stream(served, url) as fourth:
        assert fourth.status == 200
