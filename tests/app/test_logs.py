"""The log: a line for every request whoever answers it, its number everywhere, and nothing of what was asked."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import uvicorn
from starlette.testclient import TestClient

from app.http.logs import CLIENT_LEFT, RequestLog, Visit
from app.main import Application, create_app
from backend.logs import bind, configure, get_logger
from tests.app.clock import Clock
from tests.app.questions import URL, post, settings_of
from tests.catalogue.factories import tiny_home

NUMBER = re.compile(r"[0-9a-f]{12}")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, client = logging.getLogger(), logging.getLogger("httpx2")
    handlers, level = list(root.handlers), root.level
    client.setLevel(logging.WARNING)  # the tests' own client logs addresses
    yield
    client.setLevel(logging.NOTSET)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    made = io.StringIO()
    monkeypatch.setattr(sys, "stderr", made)
    configure("INFO")
    return made


def lines(stderr: io.StringIO, event: str | None = None) -> list[dict[str, Any]]:
    """The lines of an event, or all of ours."""
    found = [json.loads(line) for line in stderr.getvalue().splitlines()]
    return [one for one in found if one["logger"].startswith("proponent") and event in (None, one["event"])]


@pytest.fixture
def app(full_home: Path) -> Application:
    made = create_app(settings_of(full_home))

    @made.get("/broken/{name}")
    def fail(name: str) -> None:
        raise RuntimeError("from inside")

    return made


# --- requests


@pytest.mark.parametrize(
    ("method", "url", "headers", "route", "status"),
    [
        ("GET", "/prompts/capital-peru?q=words", {}, "/prompts/{slug}", 200),
        ("HEAD", "/prompts/capital-peru?q=words", {}, "/prompts/{slug}", 200),
        ("GET", "/api/v1/prompts/capital-peru", {"If-None-Match": "*"}, "/api/v1/prompts/{slug}", 304),
        ("GET", "/passages/factbook/peru/0", {}, "/passages/{passage_id:path}", 200),
        ("GET", "/static/app.css", {}, "/static", 200),
        ("GET", "/nothing/words", {}, "none", 404),
        ("GET", "/prompts?task=words", {}, "/prompts", 400),
        ("DELETE", "/runs", {}, "/runs", 405),
        ("POST", "/theme?to=dark", {"Sec-Fetch-Site": "cross-site"}, "none", 403),
        ("POST", "/theme?to=dark", {"Content-Length": "2000000"}, "none", 413),
        ("GET", "/broken/words", {}, "/broken/{name}", 500),
    ],
)
def test_every_request_is_a_line(
    app: Application, stderr: io.StringIO, method: str, url: str, headers: dict[str, str], route: str, status: int
) -> None:
    client = TestClient(app, raise_server_exceptions=False, follow_redirects=False)
    for _ in range(2):  # the second time a kept page
        answer = client.request(method, url, headers=headers)
        assert answer.status_code == status
        line = lines(stderr, "request")[-1]
        named = {name: line[name] for name in ("method", "route", "status", "request")}
        number = answer.headers["x-request-id"]
        assert named == {"method": method, "route": route, "status": status, "request": number}
        assert NUMBER.fullmatch(number)
        assert 0 < line["milliseconds"] < 60_000
        assert line["level"] == "info"
    assert len(lines(stderr, "request")) == 2
    assert "words" not in stderr.getvalue()


def test_a_refused_address_is_a_line(full_home: Path, stderr: io.StringIO, clock: Clock) -> None:
    client = TestClient(create_app(settings_of(full_home, reads_per_minute=1)))
    client.get("/healthz")
    refusal = client.get("/runs.json")
    assert refusal.status_code == 429
    line = lines(stderr, "request")[-1]
    assert (line["status"], line["request"]) == (429, refusal.json()["request_id"])


@pytest.mark.parametrize("url", ["/prompts/nobody", "/prompts?task=x", "/broken/x", "/nothing"])
def test_errors_carry_the_same_number(app: Application, stderr: io.StringIO, url: str) -> None:
    client = TestClient(app, raise_server_exceptions=False)
    problem = client.get(url, headers={"Accept": "application/json", "X-Request-Id": "mine"})
    assert problem.json()["request_id"] == problem.headers["x-request-id"]
    page = client.get(url, headers={"Accept": "text/html"})
    assert f"Request {page.headers['x-request-id']}" in page.text
    assert page.headers["x-request-id"] != problem.headers["x-request-id"]


def test_an_unreadable_catalogue_says_why_in_the_log_alone(tmp_path: Path, stderr: io.StringIO) -> None:
    (tmp_path / "proponent.db").write_text("not a database\n" * 100)
    answer = TestClient(create_app(settings_of(tmp_path))).get("/runs.json")
    (line,) = lines(stderr, "catalogue unreadable")
    assert line["request"] == answer.json()["request_id"]
    assert "not a SQLite database" in line["reason"]
    assert "proponent.db" not in answer.text


def test_asking_is_a_line_without_the_question(tmp_path: Path, stderr: io.StringIO) -> None:
    tiny = tiny_home(tmp_path)
    client = TestClient(create_app(settings_of(tiny.home.root)))
    answer = post(client, prompt="A secret of")
    post(client, prompt="")
    (line,) = lines(stderr, "ask")
    assert line["jobs"] == [answer.json()["id"]]
    assert answer.json()["url"] == f"/jobs/{line['ask']}"
    assert (line["new"], line["request"]) == (True, answer.headers["x-request-id"])
    assert [one["route"] for one in lines(stderr, "request")] == [URL, URL]
    for text in ("secret", "Lima"):
        assert text not in stderr.getvalue()


@pytest.mark.anyio
async def test_a_client_that_leaves_is_a_line(stderr: io.StringIO) -> None:
    seen: list[Visit] = []

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return None

    await RequestLog(silent, lambda visit, _: seen.append(visit))({"type": "http", "method": "GET"}, None, None)  # type: ignore[arg-type]
    assert [visit.status for visit in seen] == [CLIENT_LEFT]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_the_server_logs_a_traceback_with_the_number(app: Application, stderr: io.StringIO) -> None:
    config = uvicorn.Config(app, port=0, log_config=None, log_level="info", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        answer = httpx.get(f"http://127.0.0.1:{port}/broken/x", trust_env=False)
    finally:
        server.should_exit = True
        thread.join(10)
    number = answer.headers["x-request-id"]
    found = [json.loads(line) for line in stderr.getvalue().splitlines()]
    (traceback,) = [line for line in found if "exception" in line]
    assert traceback["logger"] == "uvicorn.error"
    assert traceback["request"] == number
    assert "RuntimeError: from inside" in traceback["exception"]
    assert any(line["event"].startswith("Uvicorn running on http://127.0.0.1") for line in found)
    assert all("color_message" not in line for line in found)


# --- configuration


def test_lines_for_programs(stderr: io.StringIO) -> None:
    log = get_logger("proponent.test")
    log.debug("too small")
    with bind(job="j1", run="r1"):
        log.info("claimed", text="a\nb \ud800 é", path=Path("x"))
    log.warning("alone")
    logging.getLogger("a.library").warning("%s of %d", "one", 2, extra={"more": 3})
    first, second, third = (json.loads(line) for line in stderr.getvalue().splitlines())
    assert (first["event"], first["job"], first["run"], first["path"]) == ("claimed", "j1", "r1", "x")
    assert first["text"] == "a\nb \ud800 é"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", first["timestamp"])
    assert second == {
        "event": "alone",
        "logger": "proponent.test",
        "level": "warning",
        "timestamp": second["timestamp"],
    }
    assert (third["event"], third["logger"], third["more"]) == ("one of 2", "a.library", 3)


def test_lines_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    made = io.StringIO()
    made.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", made)
    configure("DEBUG")
    asked = "".join(("what a reader", " asked"))
    try:
        raise ValueError("wrong")
    except ValueError:
        get_logger("proponent.test").exception("failed", job="j1")
    assert re.search(r"job\S*=\S*j1", made.getvalue())
    assert "Traceback (most recent call last)" in made.getvalue()
    assert "ValueError: wrong" in made.getvalue()
    assert asked not in made.getvalue()  # local variables are not shown


def test_the_last_configuration_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    configure("WARNING", json=True)
    configure("ERROR", json=True)
    log = get_logger("proponent.test")
    log.warning("small")
    log.error("large")
    assert [json.loads(line)["event"] for line in stderr.getvalue().splitlines()] == ["large"]


def test_before_configuration_only_warnings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().setLevel(logging.WARNING)
    get_logger("proponent.test").info("small")
    assert capsys.readouterr() == ("", "")
