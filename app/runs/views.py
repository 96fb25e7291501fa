"""Runs: what their templates show and what their JSON twins hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.charts import Curve, curve, thin
from app.home.progress import Progress, progress_of
from app.http.formats import address
from app.http.parameters import FieldError
from app.methods_text import MethodText, method_text
from app.runs.metrics import MetricTable, metric_table, metrics_json
from app.runs.parameters import RunListParameters
from backend.catalogue import runs as catalogue
from backend.catalogue.comparisons import comparisons_with
from backend.catalogue.indexes import RunIndex, index_of_run
from backend.catalogue.runs import MetricRow, RunDetails, RunSummary
from backend.catalogue.stages import list_stages

COMPARISONS = 10
"""So many comparisons with a run's model are named."""

CURVE_ROWS = 60
"""Rows of the learning curve's table; the JSON twin of the run holds every step."""


class UnknownCursor(Exception):
    """The run that a page should start behind is not there."""

    error = FieldError("after", "names no run of this installation")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in the list, with its metrics over all fact prompts."""

    run: RunSummary
    text: MethodText
    current: bool
    mrr: float | None
    recall_at_10: float | None
    n: int


@dataclass(frozen=True, slots=True)
class RunList:
    """One page of the list, and the stages at work."""

    rows: list[RunRow]
    total: int
    first: str | None
    next: str | None
    progress: Progress


@dataclass(frozen=True, slots=True)
class Part:
    """An artifact that went into a run, or the run itself: its configuration and what was found."""

    title: str
    id: str
    name: str | None
    config: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    versions: list[tuple[str, str]]
    seconds: float | None
    peak_memory: float | None
    command: str | None


@dataclass(frozen=True, slots=True)
class CurveRow:
    """A row of training.json's curve."""

    step: float
    epoch: float | None
    tokens: float | None
    loss: float
    learning_rate: float | None


@dataclass(frozen=True, slots=True)
class Learning:
    """The learning curve of the run's model."""

    chart: Curve | None
    rows: list[CurveRow]
    steps: int
    tokens: float | None


@dataclass(frozen=True, slots=True)
class RunPage:
    """Everything that the page of a run shows."""

    run: RunSummary
    text: MethodText
    details: RunDetails
    prompts: int
    metrics: MetricTable
    parts: list[Part]
    learning: Learning | None
    index: RunIndex | None
    """Its newest index, and what searching through it is worth."""
    comparisons: list[str]
    """Models that its model is compared with: those trained without some passages; itself where it is one."""


def run_list(session: Session, asked: RunListParameters) -> RunList:
    """A page of runs, newest first; raises UnknownCursor."""
    rows, following = _rows(session, asked)
    limit = {} if asked.limit == 50 else {"limit": asked.limit}
    return RunList(
        rows=rows,
        total=catalogue.count_runs(session),
        first=address("/runs", limit) if asked.after else None,
        next=address("/runs", {**limit, "after": following}) if following else None,
        progress=progress_of(list_stages(session)),
    )


def run_list_json(session: Session, asked: RunListParameters) -> dict[str, Any]:
    """The same page as JSON."""
    rows, following = _rows(session, asked)
    return {
        "items": [_item(row) for row in rows],
        "next": address("/runs.json", {"limit": asked.limit, "after": following}) if following else None,
        "total": catalogue.count_runs(session),
    }


def _item(row: RunRow) -> dict[str, Any]:
    return {
        **summary_json(row.run),
        "current": row.current,
        "metrics": {"facts": {"mrr": row.mrr, "recall_at_10": row.recall_at_10, "n": row.n}} if row.n else {},
    }


EXPORT_COLUMNS = (
    *("id", "url", "method", "model", "corpus", "queries", "created_at", "current"),
    *("metrics.facts.mrr", "metrics.facts.recall_at_10", "metrics.facts.n"),
)


def export_rows(session: Session) -> list[dict[str, Any]]:
    """Every run, newest first, as items of the JSON twin."""
    asked = RunListParameters(limit=200)
    found: list[dict[str, Any]] = []
    while True:
        rows, following = _rows(session, asked)
        found += [_item(row) for row in rows]
        if following is None:
            return found
        asked = RunListParameters(limit=200, after=following)


def summary_json(run: RunSummary) -> dict[str, Any]:
    """A run's identity."""
    return {
        "id": run.id,
        "url": f"/runs/{run.id}",
        "method": run.method,
        "model": run.model_id,
        "corpus": run.corpus_id,
        "queries": run.query_set_id,
        "created_at": run.created_at.isoformat(),
    }


def _rows(session: Session, asked: RunListParameters) -> tuple[list[RunRow], str | None]:
    after = None
    if asked.after is not None:
        after = catalogue.runs_by_id(session, [asked.after]).get(asked.after)
        if after is None:
            raise UnknownCursor
    runs = catalogue.page_of_runs(session, after, asked.limit + 1)
    more, runs = len(runs) > asked.limit, runs[: asked.limit]
    current = {run.id for run in catalogue.current_runs(session)}
    metrics: dict[str, dict[str, MetricRow]] = {}
    for row in catalogue.metrics_of(session, [run.id for run in runs], overall=True):
        if row.task == "facts":
            metrics.setdefault(row.run_id, {})[row.name] = row
    rows = []
    for run in runs:
        own = metrics.get(run.id, {})
        mrr, recall = own.get("mrr"), own.get("recall_at_10")
        rows.append(
            RunRow(
                run=run,
                text=method_text(run.method),
                current=run.id in current,
                mrr=mrr.value if mrr else None,
                recall_at_10=recall.value if recall else None,
                n=mrr.n if mrr else 0,
            )
        )
    return rows, runs[-1].id if more else None


def run_page(session: Session, run_id: str) -> RunPage | None:
    """The page of a run; None if there is no such run."""
    details = catalogue.run_details(session, run_id)
    if details is None:
        return None
    summary = details.summary
    manifests = [
        ("This run", summary.id, None, details.manifest),
        ("Corpus", summary.corpus_id, summary.corpus_name, details.corpus_manifest),
        ("Prompts", summary.query_set_id, summary.query_set_name, details.query_set_manifest),
        ("Model", summary.model_id, summary.model_name, details.model_manifest),
    ]
    return RunPage(
        run=summary,
        text=method_text(summary.method),
        details=details,
        prompts=catalogue.ranking_count(session, run_id),
        metrics=metric_table(catalogue.metrics_of(session, [run_id])),
        parts=[
            _part(title, part_id, name, manifest)
            for title, part_id, name, manifest in manifests
            if part_id is not None and manifest is not None
        ],
        learning=_learning(details.training),
        index=index_of_run(session, run_id),
        comparisons=_comparisons(session, summary),
    )


def _comparisons(session: Session, run: RunSummary) -> list[str]:
    if run.model_id is None:
        return []
    return [run.model_id] if run.of_part else comparisons_with(session, run.model_id)[:COMPARISONS]


def run_json(session: Session, run_id: str) -> dict[str, Any] | None:
    """A run with its manifests, metrics and its model's training record."""
    page = run_page(session, run_id)
    if page is None:
        return None
    return {
        **summary_json(page.run),
        "store": page.details.store_id,
        "passages": page.details.passage_count,
        "prompts": page.prompts,
        "manifest": page.details.manifest,
        "inputs": {
            "corpus": page.details.corpus_manifest,
            "queries": page.details.query_set_manifest,
            "model": page.details.model_manifest,
        },
        "metrics": metrics_json(page.metrics),
        "index": None if page.index is None else index_json(page.index),
        "training": page.details.training,
    }


def index_json(index: RunIndex) -> dict[str, Any]:
    """An index of a run, and how it compared with the exact scan."""
    return {**asdict(index), "created_at": index.created_at.isoformat()}


def _part(title: str, part_id: str, name: str | None, manifest: Mapping[str, Any]) -> Part:
    seconds, memory = manifest.get("seconds"), manifest.get("peak_memory_bytes")
    return Part(
        title=title,
        id=part_id,
        name=name,
        config=flat(manifest.get("config")),
        facts=flat(manifest.get("facts")),
        versions=flat(manifest.get("versions")),
        seconds=seconds,
        peak_memory=memory,
        command=manifest.get("command") or None,
    )


def flat(value: Mapping[str, Any] | None, prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as (dotted name, text) pairs; long lists are shortened."""
    pairs: list[tuple[str, str]] = []
    for name, item in (value or {}).items():
        if isinstance(item, Mapping):
            pairs += flat(item, f"{prefix}{name}.") or [(prefix + name, "{}")]
        elif isinstance(item, str):
            pairs.append((prefix + name, item))
        elif item is None:
            pairs.append((prefix + name, "none"))
        else:
            text = json.dumps(item, ensure_ascii=False)
            pairs.append((prefix + name, text if len(text) <= 400 else f"{text[:400]} …"))
    return pairs


def _learning(training: Mapping[str, Any] | None) -> Learning | None:
    rows = [
        CurveRow(row["step"], row.get("epoch"), row.get("tokens"), row["loss"], row.get("learning_rate"))
        for row in (training or {}).get("curve", [])
        if isinstance(row.get("loss"), int | float)
    ]
    if training is None or not rows:
        return None
    return Learning(
        chart=curve([row.step for row in rows], [row.loss for row in rows]),
        rows=thin(rows, CURVE_ROWS),
        steps=training.get("steps") or int(rows[-1].step),
        tokens=training.get("tokens"),
    )
