"""Reading runs: which there are, which is current, what they are made of, and their metrics."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from backend.catalogue.left_out import base_of_model
from backend.catalogue.models import Corpus, Metric, Model, Prompt, QuerySet, Ranking, Run


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run and the names of what it is over."""

    id: str
    method: str
    created_at: datetime
    corpus_id: str
    corpus_name: str
    query_set_id: str
    query_set_name: str
    model_id: str | None
    model_name: str | None
    of_part: bool = False
    """Its model was trained without some passages of the corpus."""


@dataclass(frozen=True, slots=True)
class RunDetails:
    """Everything that a run's page says."""

    summary: RunSummary
    store_id: str | None
    passage_count: int
    manifest: dict[str, Any]
    corpus_manifest: dict[str, Any]
    query_set_manifest: dict[str, Any]
    model_manifest: dict[str, Any] | None
    parameter_count: int | None
    training: dict[str, Any] | None
    """The model's training.json; None for a loaded model or a run without one."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A mean over some of a run's queries; task and bucket are empty for all."""

    run_id: str
    task: str
    bucket: str
    name: str
    value: float
    n: int


def _summaries() -> Select[*tuple[Any, ...]]:
    statement: Select[*tuple[Any, ...]] = (
        select(
            Run.id,
            Run.method,
            Run.created_at,
            Run.corpus_id,
            Corpus.name.label("corpus_name"),
            Run.query_set_id,
            QuerySet.name.label("query_set_name"),
            Run.model_id,
            Model.name.label("model_name"),
            base_of_model().label("base_model_id"),
        )
        .join(Corpus, Corpus.id == Run.corpus_id)
        .join(QuerySet, QuerySet.id == Run.query_set_id)
        .outerjoin(Model, Model.id == Run.model_id)
        .order_by(Run.created_at.desc(), Run.id.desc())
    )
    return statement


def _summary(row: Row[Any]) -> RunSummary:
    return RunSummary(
        id=row.id,
        method=row.method,
        created_at=row.created_at,
        corpus_id=row.corpus_id,
        corpus_name=row.corpus_name,
        query_set_id=row.query_set_id,
        query_set_name=row.query_set_name,
        model_id=row.model_id,
        model_name=row.model_name,
        of_part=row.base_model_id is not None,
    )


def newest_of_each_method(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """The first run of each (query set, method) of runs that come newest first.

    A run of a model that was trained without some passages stands for no method: its address shows it.
    """
    found: dict[tuple[str, str], RunSummary] = {}
    for run in runs:
        if not run.of_part:
            found.setdefault((run.query_set_id, run.method), run)
    return list(found.values())


def current_runs(session: Session, query_set_id: str | None = None) -> list[RunSummary]:
    """The newest run of each method, for one query set or for every one."""
    statement = _summaries()
    if query_set_id is not None:
        statement = statement.where(Run.query_set_id == query_set_id)
    return newest_of_each_method(_summary(row) for row in session.execute(statement))


def runs_by_id(session: Session, run_ids: Collection[str]) -> dict[str, RunSummary]:
    """The named runs that there are."""
    return {row.id: _summary(row) for row in session.execute(_summaries().where(Run.id.in_(run_ids)))}


def count_runs(session: Session) -> int:
    """How many runs there are, current or not."""
    return session.scalar(select(func.count()).select_from(Run)) or 0


def page_of_runs(session: Session, after: RunSummary | None, limit: int) -> list[RunSummary]:
    """Up to ``limit`` runs, newest first, that come after a given one."""
    statement = _summaries().limit(limit)
    if after is not None:
        statement = statement.where(
            or_(
                Run.created_at < after.created_at,
                and_(Run.created_at == after.created_at, Run.id < after.id),
            )
        )
    return [_summary(row) for row in session.execute(statement)]


def run_details(session: Session, run_id: str) -> RunDetails | None:
    """One run, its inputs' manifests and its model's learning curve; None if there is no such run."""
    statement = (
        _summaries()
        .add_columns(
            Run.store_id,
            Run.manifest.label("manifest"),
            Corpus.passage_count,
            Corpus.manifest.label("corpus_manifest"),
            QuerySet.manifest.label("query_set_manifest"),
            Model.manifest.label("model_manifest"),
            Model.parameter_count,
            Model.training,
        )
        .where(Run.id == run_id)
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        return None
    return RunDetails(
        summary=_summary(row),
        store_id=row.store_id,
        passage_count=row.passage_count,
        manifest=row.manifest,
        corpus_manifest=row.corpus_manifest,
        query_set_manifest=row.query_set_manifest,
        model_manifest=row.model_manifest,
        parameter_count=row.parameter_count,
        training=row.training,
    )


def metrics_of(session: Session, run_ids: Collection[str], *, overall: bool = False) -> list[MetricRow]:
    """Stored metrics of runs; ``overall`` keeps only the rows over all buckets."""
    statement = select(Metric.run_id, Metric.task, Metric.bucket, Metric.name, Metric.value, Metric.n)
    statement = statement.where(Metric.run_id.in_(run_ids))
    if overall:
        statement = statement.where(Metric.bucket == "")
    return [MetricRow(*row) for row in session.execute(statement.order_by(Metric.task, Metric.bucket))]


def ranking_count(session: Session, run_id: str) -> int:
    """How many prompts of its query set a run ranks passages for."""
    asked = select(Prompt.pk).where(Prompt.asked)
    own = select(func.count()).select_from(Ranking).where(Ranking.run_id == run_id, Ranking.prompt_pk.not_in(asked))
    return session.scalar(own) or 0
