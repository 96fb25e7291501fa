"""Reading prompts: the filtered list, one prompt with its rankings, neighbours and a random one."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from backend.catalogue.models import (
    Entailment,
    Output,
    Passage,
    Prompt,
    QuerySet,
    RankedPassage,
    Ranking,
    Run,
)


@dataclass(frozen=True, slots=True)
class PromptFilter:
    """Which prompts a list holds; None lets everything through."""

    task: str | None = None
    relation: str | None = None
    bucket: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter as SQL conditions on the table of prompts."""
        pairs = ((Prompt.task, self.task), (Prompt.relation, self.relation), (Prompt.bucket, self.bucket))
        return [column == value for column, value in pairs if value is not None]


@dataclass(frozen=True, slots=True)
class FacetCount:
    """How many prompts share a task, relation and bucket."""

    task: str
    relation: str | None
    bucket: str | None
    count: int


@dataclass(frozen=True, slots=True)
class MeanMetrics:
    """Means of one method over some prompts; n counts those with a passage that states the fact."""

    mrr: float
    recall_at_10: float
    precision_at_1: float
    precision_at_10: float
    n: int


@dataclass(frozen=True, slots=True)
class RankedRow:
    """A passage in a ranking; rank is negative for opponents."""

    ranking_pk: int
    rank: int
    passage_pk: int
    score: float
    percentile: float
    tail_patch: float | None


def facets(session: Session) -> list[FacetCount]:
    """Counts of prompts by task, relation and bucket: every facet and every total follows from them."""
    columns = (Prompt.task, Prompt.relation, Prompt.bucket)
    rows = session.execute(select(*columns, func.count()).group_by(*columns))
    return [FacetCount(*row) for row in rows]


def page_of_prompts(session: Session, wanted: PromptFilter, after_pk: int, limit: int) -> list[Prompt]:
    """Up to ``limit`` prompts of a filter, in the order they were loaded, behind ``after_pk``."""
    statement = select(Prompt).where(*wanted.conditions(), Prompt.pk > after_pk)
    return list(session.scalars(statement.order_by(Prompt.pk).limit(limit)))


def pk_of_slug(session: Session, slug: str) -> int | None:
    """Where a slug stands in the list's order; None if there is no such prompt."""
    return session.scalar(select(Prompt.pk).where(Prompt.slug == slug))


def prompt_by_slug(session: Session, slug: str) -> tuple[Prompt, str] | None:
    """One prompt and the id of its corpus; None if there is no such prompt."""
    statement = select(Prompt, QuerySet.corpus_id).join(QuerySet, QuerySet.id == Prompt.query_set_id)
    row = session.execute(statement.where(Prompt.slug == slug)).one_or_none()
    return None if row is None else (row[0], row[1])


def neighbours(session: Session, pk: int) -> tuple[str | None, str | None]:
    """Slugs of the prompts before and behind one."""
    before = select(Prompt.slug).where(Prompt.pk < pk).order_by(Prompt.pk.desc()).limit(1).scalar_subquery()
    behind = select(Prompt.slug).where(Prompt.pk > pk).order_by(Prompt.pk).limit(1).scalar_subquery()
    previous, following = session.execute(select(before, behind)).one()
    return previous, following


def random_slug(session: Session, wanted: PromptFilter) -> str | None:
    """The slug of any prompt of a filter; None if there is none."""
    chosen = select(Prompt.slug).where(*wanted.conditions()).order_by(Prompt.pk).limit(1)
    ends: Select[*tuple[Any, ...]] = select(func.min(Prompt.pk), func.max(Prompt.pk)).where(*wanted.conditions())
    first, last = session.execute(ends).one()
    if first is None:
        return None
    return session.scalar(chosen.where(Prompt.pk >= random.randint(first, last)))


def outputs_of(session: Session, prompt_pks: Collection[int]) -> dict[int, list[Output]]:
    """Each prompt's stored model outputs."""
    found: dict[int, list[Output]] = {}
    statement = select(Output).where(Output.prompt_pk.in_(prompt_pks)).order_by(Output.model_id)
    for output in session.scalars(statement):
        found.setdefault(output.prompt_pk, []).append(output)
    return found


def rankings_of(session: Session, prompt_pks: Collection[int], run_ids: Collection[str]) -> list[Any]:
    """(prompt_pk, run_id, reciprocal_rank, recall_at_10, precision_at_1, precision_at_10) of each ranking."""
    statement = select(
        Ranking.prompt_pk,
        Ranking.run_id,
        Ranking.reciprocal_rank,
        Ranking.recall_at_10,
        Ranking.precision_at_1,
        Ranking.precision_at_10,
    ).where(Ranking.prompt_pk.in_(prompt_pks), Ranking.run_id.in_(run_ids))
    return list(session.execute(statement))


def mean_metrics(session: Session, wanted: PromptFilter, run_ids: Collection[str]) -> dict[str, MeanMetrics]:
    """Mean metrics of each method over the prompts of a filter."""
    statement: Select[*tuple[Any, ...]] = (
        select(
            Run.method,
            func.avg(Ranking.reciprocal_rank),
            func.avg(Ranking.recall_at_10),
            func.avg(Ranking.precision_at_1),
            func.avg(Ranking.precision_at_10),
            func.count(Ranking.reciprocal_rank),
        )
        .join(Run, Run.id == Ranking.run_id)
        .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        .where(*wanted.conditions(), Ranking.run_id.in_(run_ids), Ranking.reciprocal_rank.is_not(None))
        .group_by(Run.method)
    )
    return {method: MeanMetrics(*values) for method, *values in session.execute(statement)}


def rankings_of_prompt(session: Session, prompt_pk: int, run_ids: Collection[str]) -> list[Ranking]:
    """A prompt's rankings in the given runs, with their score distributions."""
    statement = select(Ranking).where(Ranking.prompt_pk == prompt_pk, Ranking.run_id.in_(run_ids))
    return list(session.scalars(statement))


def ranked_rows(session: Session, ranking_pks: Collection[int]) -> list[RankedRow]:
    """All stored proponents and opponents of rankings."""
    columns = (
        RankedPassage.ranking_pk,
        RankedPassage.rank,
        RankedPassage.passage_pk,
        RankedPassage.score,
        RankedPassage.percentile,
        RankedPassage.tail_patch,
    )
    statement = select(*columns).where(RankedPassage.ranking_pk.in_(ranking_pks))
    return [RankedRow(*row) for row in session.execute(statement.order_by(RankedPassage.rank))]


def entailing_passages(session: Session, prompt_pk: int) -> set[int]:
    """Primary keys of the passages that state a prompt's fact."""
    return set(session.scalars(select(Entailment.passage_pk).where(Entailment.prompt_pk == prompt_pk)))


def passages_by_pk(session: Session, pks: Collection[int]) -> dict[int, Passage]:
    """The passages with the given primary keys."""
    return {passage.pk: passage for passage in session.scalars(select(Passage).where(Passage.pk.in_(pks)))}


def group_sizes(session: Session, corpus_id: str, groups: Collection[str]) -> dict[str, int]:
    """How many passages each near-duplicate group of a corpus holds."""
    if not groups:
        return {}
    statement = (
        select(Passage.near_duplicates, func.count())
        .where(Passage.corpus_id == corpus_id, Passage.near_duplicates.in_(groups))
        .group_by(Passage.near_duplicates)
    )
    return {group: count for group, count in session.execute(statement) if group is not None}
