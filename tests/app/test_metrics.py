"""Metrics: requests by template, the queue as the catalogue holds it, and nothing of what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app.http import queue_metrics
from app.http.queue_metrics import _quantile
from app.main import create_app
from backend.catalogue.database import open_catalogue, write_session
from backend.catalogue.models import Base, Job
from backend.jobs.queue import register, set_worker
from tests.app.questions import settings_of

NOW = datetime.now(UTC)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(client: TestClient) -> Samples:
    """(name, labels) -> value."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.headers["cache-control"] == "no-store"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


@pytest.fixture
def engine(catalogue_url: str) -> Iterator[Engine]:
    made = open_catalogue(catalogue_url)
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def client(engine: Engine, catalogue_url: str, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(settings_of(tmp_path, database_url=catalogue_url))) as made:
        yield made


def add_job(engine: Engine, name: str, state: str, kind: str = "rank", waited: float = 0, took: float = 0) -> None:
    """A job that was queued a minute ago and has waited and taken so many seconds."""
    queued = NOW - timedelta(seconds=60)
    began = queued + timedelta(seconds=waited) if state in ("done", "failed", "running") else None
    with write_session(engine) as session:
        session.add(
            Job(
                id=name,
                kind=kind,
                parameters={"prompt": "a secret question"},
                state=state,
                created_at=queued,
                queued_at=queued,
                started_at=began,
                finished_at=began + timedelta(seconds=took) if began and state != "running" else None,
            )
        )


# --- requests


def test_requests_are_counted_by_template(full_home: Path) -> None:
    client = TestClient(create_app(settings_of(full_home)), follow_redirects=False)
    for url in ("/prompts/capital-peru", "/prompts/story-2", "/prompts/capital-peru", "/prompts/nobody"):
        client.get(url)
    client.head("/prompts/story-2")
    client.get("/no/such?q=secret")
    client.get("/static/app.css")
    client.post("/api/v1/runs")
    client.request("BREW", "/")
    found = samples(client)

    def count(route: str, method: str, status: str) -> float:
        labels = {"route": route, "method": method, "status": status}
        total = value(found, "proponent_http_requests_total", **labels)
        assert value(found, "proponent_http_request_duration_seconds_count", **labels) == total
        assert 0 < value(found, "proponent_http_request_duration_seconds_sum", **labels) < 60
        return total

    assert count("/prompts/{slug}", "GET", "2xx") == 3  # kept pages too
    assert count("/prompts/{slug}", "HEAD", "2xx") == 1
    assert count("/prompts/{slug}", "GET", "4xx") == 1
    assert count("none", "GET", "4xx") == 1
    assert count("/static", "GET", "2xx") == 1
    assert count("/api/v1/runs", "POST", "4xx") == 1
    assert count("/", "other", "4xx") == 1
    assert "secret" not in client.get("/metrics").text
    assert "_created" not in client.get("/metrics").text


def test_faults_of_the_server_are_counted(full_home: Path) -> None:
    app = create_app(settings_of(full_home))

    @app.get("/broken")
    def fail() -> None:
        raise RuntimeError

    client = TestClient(app, raise_server_exceptions=False)
    client.get("/broken")
    labels = {"route": "/broken", "method": "GET", "status": "5xx"}
    assert value(samples(client), "proponent_http_requests_total", **labels) == 1


def test_applications_count_for_themselves(full_home: Path) -> None:
    first, second = (TestClient(create_app(settings_of(full_home))) for _ in range(2))
    first.get("/healthz")
    assert "/healthz" in first.get("/metrics").text
    assert "/healthz" not in second.get("/metrics").text


# --- the queue


def test_an_empty_queue(client: TestClient) -> None:
    found = samples(client)
    assert value(found, "proponent_catalogue_readable") == 1
    assert value(found, "proponent_jobs", kind="rank", state="queued") == 0
    assert value(found, "proponent_queue_oldest_age_seconds") == 0
    assert value(found, "proponent_job_wait_seconds_count", kind="rank") == 0
    assert value(found, "proponent_workers") == 0


def test_jobs_waits_and_durations(engine: Engine, client: TestClient) -> None:
    for number in range(10):
        state = "failed" if number == 9 else "done"
        add_job(engine, f"done-{number}", state, waited=number, took=number / 4)
    add_job(engine, "patched", "done", kind="tail-patch", waited=1, took=2)
    add_job(engine, "waits", "queued")
    add_job(engine, "runs", "running", waited=5)
    found = samples(client)
    assert value(found, "proponent_jobs", kind="rank", state="done") == 9
    assert value(found, "proponent_jobs", kind="rank", state="failed") == 1
    assert value(found, "proponent_jobs", kind="tail-patch", state="done") == 1
    assert value(found, "proponent_jobs", kind="complete", state="running") == 0
    assert 60 <= value(found, "proponent_queue_oldest_age_seconds") < 300
    for name, unit in (("wait", 1.0), ("duration", 0.25)):
        family = f"proponent_job_{name}_seconds"
        assert value(found, f"{family}_count", kind="rank") == 10
        assert value(found, f"{family}_sum", kind="rank") == pytest.approx(45 * unit, abs=0.01)
        for quantile, expected in (("0.5", 4), ("0.9", 8), ("0.99", 9)):
            assert value(found, family, kind="rank", quantile=quantile) == pytest.approx(expected * unit, abs=0.001)
    assert value(found, "proponent_job_duration_seconds_sum", kind="tail-patch") == pytest.approx(2, abs=0.001)
    assert "secret" not in client.get("/metrics").text


def test_quantiles_are_of_recent_jobs(engine: Engine, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_metrics, "RECENT", 3)
    for number in range(6):
        add_job(engine, f"job-{number}", "done", took=number)
    found = samples(client)
    assert value(found, "proponent_job_duration_seconds", kind="rank", quantile="0.5") == pytest.approx(4, abs=0.001)
    assert value(found, "proponent_job_duration_seconds_count", kind="rank") == 6


def test_workers(engine: Engine, client: TestClient) -> None:
    first, second = register(engine, "cpu"), register(engine, "cpu")
    register(engine, "cuda")
    set_worker(engine, first, scan_bytes=6e9, scan_seconds=2.0, lease_losses=2)
    set_worker(engine, second, state="ended", scan_bytes=2e9, scan_seconds=2.0, lease_losses=1)
    found = samples(client)
    assert value(found, "proponent_workers") == 2
    assert value(found, "proponent_worker_lease_losses_total") == 3
    assert value(found, "proponent_worker_scan_bytes_total", device="cpu") == 8e9
    assert value(found, "proponent_worker_scan_seconds_total", device="cpu") == 4
    assert value(found, "proponent_worker_scan_bytes_per_second", device="cpu") == 2e9
    assert value(found, "proponent_worker_scan_bytes_per_second", device="cuda") == 0


def test_without_a_catalogue(bare: TestClient, tmp_path: Path) -> None:
    assert value(samples(bare), "proponent_jobs", kind="rank", state="done") == 0
    (tmp_path / "proponent.db").write_text("not a database, and a secret\n" * 100)
    found = samples(TestClient(create_app(settings_of(tmp_path))))
    assert value(found, "proponent_catalogue_readable") == 0
    assert not any(name.startswith("proponent_job") for name, _ in found)


def test_metrics_can_be_switched_off(full_home: Path) -> None:
    client = TestClient(create_app(settings_of(full_home, metrics=False)))
    assert client.get("/metrics").status_code == 404


def test_quantiles() -> None:
    assert [_quantile([1.0], share) for share in (0.0, 0.5, 1.0)] == [1.0] * 3
    assert [_quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.25, 0.26, 0.5, 0.99, 1.0)] == [1, 1, 2, 2, 4, 4]
