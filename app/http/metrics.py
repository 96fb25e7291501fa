"""Metrics for Prometheus: requests as this process has seen them, and the queue as the catalogue holds it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from starlette.responses import Response

from app.http.database import Catalogue
from app.http.errors import not_found
from app.http.logs import Visit
from app.http.queue_metrics import QueueMetrics

disable_created_metrics()  # twice as many lines, of which Prometheus takes no notice

LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LABELS = ("route", "method", "status")
router = APIRouter()


class Metrics:
    """The metrics of one application."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "proponent_http_requests",
            "Requests, by template of the route, method and class of the status.",
            LABELS,
            registry=self._registry,
        )
        self._seconds = Histogram(
            "proponent_http_request_duration_seconds",
            "Time from a request's start to the end of its answer.",
            LABELS,
            buckets=LATENCIES,
            registry=self._registry,
        )
        self._known: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._registry.register(QueueMetrics(catalogue))

    def observe(self, visit: Visit, seconds: float) -> None:
        """Count a request that has ended. Labels are few: templates, known methods, classes of status."""
        labels = (visit.route, visit.method, f"{visit.status // 100}xx")
        known = self._known.get(labels)
        if known is None:
            known = self._known[labels] = (self._requests.labels(*labels), self._seconds.labels(*labels))
        known[0].inc()
        known[1].observe(seconds)

    def text(self) -> bytes:
        """Everything in Prometheus' text format; reads the catalogue."""
        return generate_latest(self._registry)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    if not request.app.state.settings.metrics:
        raise not_found("Metrics are switched off here.")
    found: Metrics = request.app.state.metrics
    return Response(found.text(), headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})
