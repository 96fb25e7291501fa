"""The queue and its workers as metrics, read from the catalogue whenever they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from threading import Lock
from time import monotonic
from typing import Any, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import ColumnElement, Float, cast, func, select
from sqlalchemy.orm import Session

from app.http.database import Catalogue
from backend.catalogue.database import CatalogueError
from backend.catalogue.models import Job, Worker
from backend.jobs.queue import live_workers
from backend.jobs.records import Kind, State

QUANTILES = (0.5, 0.9, 0.99)
RECENT = 200
"""Finished jobs of a kind that quantiles are taken over."""

ABOUT = {
    "wait": f"Time from queueing a job to starting it, over finished jobs; quantiles over the last {RECENT}.",
    "duration": f"Time from starting a job to its end, over finished jobs; quantiles over the last {RECENT}.",
}
ENDED = ("done", "failed")
DAY = 86_400
KEPT_SECONDS = 1.0
"""How long what was read is given again, so that any number of scrapes costs the catalogue little."""


class QueueMetrics(Collector):
    """Reads the catalogue when metrics are collected."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = Lock()
        self._read: tuple[float, list[Metric]] = (-math.inf, [])

    def describe(self) -> list[Metric]:
        """Nothing: the catalogue is not read only to register this."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment, or of the last second; of a catalogue that cannot be read only that."""
        with self._lock:
            if monotonic() > self._read[0] + KEPT_SECONDS:
                self._read = monotonic(), self._look()
            found = self._read[1]
        yield from found

    def _look(self) -> list[Metric]:
        text = "1 if the catalogue could be read."
        try:
            with self._catalogue.read() as session:
                found = [*_jobs(session), *_workers(session)]
        except CatalogueError:
            return [GaugeMetricFamily("proponent_catalogue_readable", text, 0)]
        return [GaugeMetricFamily("proponent_catalogue_readable", text, 1), *found]


def _jobs(session: Session) -> Iterator[Metric]:
    """Counts, waits and durations: totals over all jobs in one pass, quantiles over recent ones."""
    spans = {
        "wait": _seconds(session, Job.queued_at, Job.started_at).label("wait"),
        "duration": _seconds(session, Job.started_at, Job.finished_at).label("duration"),
    }
    counted = func.count(Job.started_at).label("timed")
    sums = [func.sum(span).label(name) for name, span in spans.items()]
    statement = select(Job.kind, Job.state, func.count().label("jobs"), counted, *sums).group_by(Job.kind, Job.state)
    totals = {(row.kind, row.state): row for row in session.execute(statement)}
    jobs = GaugeMetricFamily("proponent_jobs", "Jobs in the catalogue.", labels=("kind", "state"))
    for kind in get_args(Kind):
        for state in get_args(State):
            jobs.add_metric((kind, state), totals[kind, state].jobs if (kind, state) in totals else 0)
    yield jobs
    oldest = session.scalar(select(func.min(Job.queued_at)).where(Job.state == "queued"))
    age = 0.0 if oldest is None else max(0.0, (datetime.now(UTC) - oldest).total_seconds())
    yield GaugeMetricFamily("proponent_queue_oldest_age_seconds", "Age of the oldest queued job; 0 without one.", age)
    families = {
        name: SummaryMetricFamily(f"proponent_job_{name}_seconds", text, labels=("kind",))
        for name, text in ABOUT.items()
    }
    for kind in get_args(Kind):
        ended = [totals[kind, state] for state in ENDED if (kind, state) in totals]
        latest = select(*spans.values()).where(Job.kind == kind, Job.state.in_(ENDED), Job.started_at.is_not(None))
        recent = session.execute(latest.order_by(Job.finished_at.desc()).limit(RECENT)).all() if ended else []
        for name, family in families.items():
            values = sorted(max(0.0, getattr(row, name)) for row in recent)
            for quantile in QUANTILES if values else ():
                labels = {"kind": kind, "quantile": str(quantile)}
                family.add_sample(family.name, labels, _quantile(values, quantile))
            seconds = sum(getattr(row, name) or 0.0 for row in ended)
            family.add_metric((kind,), sum(row.timed for row in ended), max(0.0, seconds))
    yield from families.values()


def _workers(session: Session) -> Iterator[Metric]:
    yield GaugeMetricFamily("proponent_workers", "Workers that are alive.", len(live_workers(session)))
    losses = session.scalar(select(func.coalesce(func.sum(Worker.lease_losses), 0))) or 0
    yield CounterMetricFamily(
        "proponent_worker_lease_losses", "Jobs that a worker lost to another, or to its own end.", float(losses)
    )
    read = CounterMetricFamily("proponent_worker_scan_bytes", "Bytes of stores scanned.", labels=("device",))
    took = CounterMetricFamily("proponent_worker_scan_seconds", "Time spent scanning stores.", labels=("device",))
    rate = GaugeMetricFamily(
        "proponent_worker_scan_bytes_per_second", "Bytes scanned a second, over all scans.", labels=("device",)
    )
    rows = session.execute(
        select(Worker.device, func.sum(Worker.scan_bytes), func.sum(Worker.scan_seconds)).group_by(Worker.device)
    )
    for device, scanned, seconds in rows:
        read.add_metric((device,), scanned)
        took.add_metric((device,), seconds)
        rate.add_metric((device,), scanned / seconds if seconds > 0 else 0.0)
    yield from (read, took, rate)


def _seconds(session: Session, begin: ColumnElement[Any] | Any, end: ColumnElement[Any] | Any) -> ColumnElement[float]:
    """Seconds between two moments, on either database."""
    if session.get_bind().dialect.name == "postgresql":
        return cast(func.extract("epoch", end - begin), Float)
    return (func.julianday(end) - func.julianday(begin)) * DAY


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
