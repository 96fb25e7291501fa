"""What the page of methods reads beside metrics and measurements: sets of prompts, baselines, costs, examples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from backend.catalogue.models import Corpus, Metric, PatchSet, Prompt, QuerySet, Ranking, Run
from backend.catalogue.patches import patch_rows


@dataclass(frozen=True, slots=True)
class MeasuredSet:
    """A query set that methods have been run over."""

    id: str
    name: str
    facts: int
    """Fact queries that some passage states, over which methods are compared; 0 where it has none."""
    corpus_id: str
    corpus_name: str
    passages: int


@dataclass(frozen=True, slots=True)
class RunCost:
    """What a run took, and from where it read gradients."""

    seconds: float
    queries: int | None
    row_set: str | None
    store_id: str | None


@dataclass(frozen=True, slots=True)
class ListExample:
    """A fact query whose list shows what a method does."""

    slug: str
    prompt: str
    completion: str
    reciprocal_rank: float


def measured_sets(session: Session) -> list[MeasuredSet]:
    """Query sets with a run, those with stated facts first, newest first."""
    facts = (
        select(Run.query_set_id, func.max(Metric.n).label("n"))
        .join(Metric, Metric.run_id == Run.id)
        .where(Metric.task == "facts", Metric.bucket == "", Metric.name == "mrr")
        .group_by(Run.query_set_id)
        .subquery()
    )
    statement = (
        select(QuerySet.id, QuerySet.name, func.coalesce(facts.c.n, 0), Corpus.id, Corpus.name, Corpus.passage_count)
        .join(Corpus, Corpus.id == QuerySet.corpus_id)
        .outerjoin(facts, facts.c.query_set_id == QuerySet.id)
        .where(QuerySet.id.in_(select(Run.query_set_id)))
        .order_by(QuerySet.created_at.desc(), QuerySet.id.desc())
    )
    found = [MeasuredSet(*tuple(row)) for row in session.execute(statement)]
    return sorted(found, key=lambda one: one.facts == 0)


def tail_patch_baselines(session: Session, query_set_id: str) -> list[dict[str, Any]]:
    """Rows of baselines (method, task, bucket, n, tail-patch at each depth) of the newest tail-patch over ten passages.

    They are as ``evaluate tail-patch --json`` gives them: those of no run, such as random passages.
    """
    statement = select(PatchSet.manifest).where(PatchSet.query_set_id == query_set_id)
    newest_first = session.scalars(statement.order_by(PatchSet.created_at.desc(), PatchSet.id.desc()))
    facts = next((one["facts"] for one in newest_first if one["config"]["k"] >= 10), None)
    if facts is None:
        return []
    return patch_rows({"means": [row for row in facts["means"] if row["run"] is None]})


def run_costs(session: Session, run_ids: Collection[str]) -> dict[str, RunCost]:
    """What the runs' manifests say of their cost."""
    statement = select(Run.id, Run.store_id, Run.manifest).where(Run.id.in_(run_ids))
    return {
        run_id: RunCost(
            seconds=manifest["seconds"],
            queries=manifest["facts"].get("queries"),
            row_set=manifest["config"].get("row_set"),
            store_id=store_id,
        )
        for run_id, store_id, manifest in session.execute(statement)
    }


def list_examples(session: Session, run_ids: Collection[str]) -> dict[str, tuple[ListExample, ListExample]]:
    """Run -> the fact that it traces best and that it traces worst, of equal ones what the model is surest of.

    Runs that trace no fact are left out.
    """
    surest = func.coalesce(Prompt.confidence, 0.0).desc(), Prompt.pk
    placed = (
        select(
            Ranking.run_id,
            Prompt.slug,
            Prompt.prompt,
            Prompt.completion,
            Ranking.reciprocal_rank,
            *(
                func.row_number().over(partition_by=Ranking.run_id, order_by=(order, *surest)).label(name)
                for name, order in (("best", Ranking.reciprocal_rank.desc()), ("worst", Ranking.reciprocal_rank))
            ),
        )
        .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        .where(Ranking.run_id.in_(run_ids), Prompt.task == "facts", Ranking.reciprocal_rank.is_not(None))
        .where(Prompt.asked.is_(False))
        .subquery()
    )
    best: dict[str, ListExample] = {}
    worst: dict[str, ListExample] = {}
    for row in session.execute(select(placed).where(or_(placed.c.best == 1, placed.c.worst == 1))):
        example = ListExample(row.slug, row.prompt, row.completion, row.reciprocal_rank)
        if row.best == 1:
            best[row.run_id] = example
        if row.worst == 1:
            worst[row.run_id] = example
    return {run_id: (best[run_id], worst[run_id]) for run_id in best}


def slugs_of(session: Session, query_set_id: str, query_ids: Collection[str]) -> dict[str, str]:
    """Query id -> slug of its prompt, of those that the set has."""
    statement = select(Prompt.query_id, Prompt.slug).where(
        Prompt.query_set_id == query_set_id, Prompt.query_id.in_(query_ids)
    )
    return {query_id: slug for query_id, slug in session.execute(statement)}
