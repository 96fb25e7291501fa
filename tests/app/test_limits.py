"""Limits: who is counted together, what is refused and for how long, and that counts stay few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.http.clients import UNKNOWN, network_of
from app.http.limits import BoundedCounts, PerMinute
from app.http.rendering import asset
from app.main import create_app
from tests.app.clock import Clock
from tests.app.example_catalogue import settings_for
from tests.app.questions import COOKIE, post, refused
from tests.catalogue.factories import tiny_home

pytestmark = pytest.mark.usefixtures("clock")


def client_of(home: Path, address: tuple[str, int] = ("192.0.2.1", 1), **changes: Any) -> TestClient:
    settings = settings_for(home).model_copy(update=changes)
    return TestClient(create_app(settings), client=address, follow_redirects=False)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_home(tmp_path).home.root


# --- reading


def test_reading_is_limited(full_home: Path, clock: Clock) -> None:
    client = client_of(full_home, reads_per_minute=5)
    assert [client.get("/runs.json").status_code for _ in range(6)] == [200] * 5 + [429]
    problem = client.get("/runs.json")
    refused(problem, 429)
    assert problem.headers["retry-after"] == "61"
    assert "content-security-policy" in problem.headers
    page = client.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 429
    assert "Too many requests" in page.text
    assert "61 s" in page.text
    head = client.head("/")
    assert (head.status_code, head.content) == (429, b"")
    assert client.get(asset("app.css")).status_code == 200  # or the refusal would have no style
    clock.now += 61
    assert client.get("/runs.json").status_code == 200


def test_kept_pages_are_counted(full_home: Path) -> None:
    client = client_of(full_home, reads_per_minute=3)
    assert [client.get("/prompts/capital-peru").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_addresses_are_counted_by_themselves(full_home: Path) -> None:
    app = create_app(settings_for(full_home).model_copy(update={"reads_per_minute": 1}))
    one, other = TestClient(app, client=("192.0.2.1", 1)), TestClient(app, client=("192.0.2.2", 1))
    assert [client.get("/healthz").status_code for client in (one, other, one, other)] == [200, 200, 429, 429]
    forged = other.get("/healthz", headers={"X-Forwarded-For": "203.0.113.9"})
    assert forged.status_code == 429  # only the server believes a proxy, and only one that it trusts


@pytest.mark.parametrize("zero", ["reads_per_minute", "questions_per_minute"])
def test_zero_is_no_limit(tiny: Path, zero: str) -> None:
    client = client_of(tiny, **{"reads_per_minute": 0, zero: 0})
    assert {client.get("/healthz").status_code for _ in range(100)} == {200}
    assert post(client).status_code == 202


# --- asking


def test_asking_is_limited_by_address(tiny: Path, clock: Clock) -> None:
    client = client_of(tiny, questions_per_minute=2)
    assert [post(client).status_code for _ in range(3)] == [202, 200, 429]
    refusal = post(client, headers=COOKIE)  # a new cookie is no new address
    refused(refusal, 429)
    assert refusal.headers["retry-after"] == "61"
    assert client.get("/api/v1/questions").status_code == 200
    clock.now += 61
    assert post(client).status_code == 200


def test_asking_is_limited_by_reader(tiny: Path) -> None:
    app = create_app(settings_for(tiny).model_copy(update={"questions_per_minute": 1}))
    addresses = [TestClient(app, client=(f"192.0.2.{number}", 1)) for number in range(3)]
    assert [post(client, headers=COOKIE).status_code for client in addresses] == [202, 429, 429]


def test_where_nobody_may_ask_nothing_is_counted(tiny: Path) -> None:
    client = client_of(tiny, questions_per_minute=1, asking="nobody")
    assert [post(client).status_code for _ in range(3)] == [403] * 3


# --- counting


@given(amount=st.integers(1, 50), steps=st.lists(st.floats(0, 40), max_size=120))
def test_waiting_as_told_is_enough(amount: int, steps: list[float]) -> None:
    clock, patch = Clock(), pytest.MonkeyPatch()
    with patch.context() as patched:
        clock.rule(patched)
        limit = PerMinute(amount)
        for step in steps:
            clock.now += step / amount
            seconds = limit.hit("client")
            if seconds is not None:
                assert 1 <= seconds <= 61
                clock.now += seconds
                assert limit.hit("client") is None


def test_a_steady_client_is_never_refused(clock: Clock) -> None:
    limit = PerMinute(60)
    for _ in range(600):
        assert limit.hit("client") is None
        clock.now += 1.05


def test_never_many_more_than_the_limit_within_a_minute(clock: Clock) -> None:
    limit, taken = PerMinute(60), []
    for _ in range(3000):
        if limit.hit("client") is None:
            taken.append(clock.now)
        clock.now += 0.1
    most = max(sum(1 for other in taken if moment <= other < moment + 60) for moment in taken)
    assert most <= 120
    assert len(taken) <= 60 * 6


def test_counts_are_bounded(clock: Clock) -> None:
    limit = PerMinute(3, most_counts=100)
    for number in range(1000):
        assert limit.hit(f"client {number}") is None
    assert len(limit.counts) == 100
    assert [limit.hit("client 999") for _ in range(3)] == [None, None, 61]


def test_counts_run_out(clock: Clock) -> None:
    counts = BoundedCounts()
    assert counts.incr("a", 60) == 1
    assert counts.incr("a", 60, amount=2) == 3
    assert counts.decr("a") == 2
    assert counts.decr("nobody") == 0
    assert counts.get("a") == 2
    clock.now += 60
    assert counts.get("a") == 0
    assert counts.incr("a", 60) == 1


# --- addresses


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", UNKNOWN),
        ("x" * 1000, "x" * 100),
    ],
)
def test_addresses_of_one_network_are_one_client(host: str, network: str) -> None:
    assert network_of({"type": "http", "client": (host, 1)}) == network


def test_a_client_without_an_address() -> None:
    assert network_of({"type": "http", "client": None}) == network_of({"type": "http"}) == UNKNOWN
