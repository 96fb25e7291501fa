"""Reading lists of prompts: filter, facets with counts, sorts, keyset pages, neighbours, mean metrics."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Boolean, ColumnElement, Select, and_, case, cast, func, literal, or_, select
from sqlalchemy.orm import Session

from backend.catalogue.models import Output, Prompt, Ranking, Run
from backend.catalogue.search import matches

CONFIDENT = 0.5
"""An answer of more than this probability is confident."""

FACETS = ("task", "relation", "bucket", "correct", "confident", "annotated", "opponents")
"""What a list is narrowed by beside search, in the order of the form."""

Sort = Literal[
    "order",
    "most-confident",
    "least-confident",
    "most-stated",
    "least-stated",
    "best-traced",
    "worst-traced",
]

_COLUMNS: dict[str, ColumnElement[Any]] = {
    "task": Prompt.task.expression,
    "relation": Prompt.relation.expression,
    "bucket": Prompt.bucket.expression,
    "correct": Prompt.correct.expression,
    "confident": cast(case((Prompt.confidence > CONFIDENT, True), else_=False), Boolean),
    "annotated": cast(case((Prompt.annotation_count > 0, True), else_=False), Boolean),
    "opponents": Prompt.has_opponents.expression,
}


@dataclass(frozen=True, slots=True)
class PromptFilter:
    """Which prompts a list holds; None (of buckets: none) lets everything through."""

    q: str | None = None
    task: str | None = None
    relation: str | None = None
    bucket: tuple[str, ...] = ()
    correct: bool | None = None
    confident: bool | None = None
    annotated: bool | None = None
    opponents: bool | None = None
    query_set: str | None = None

    def conditions(self, dialect: str) -> list[ColumnElement[bool]]:
        """The filter as SQL conditions on the table of prompts; readers' own questions are never of a list."""
        return [Prompt.asked.is_(False), *self.narrowing(dialect)]

    def narrowing(self, dialect: str) -> list[ColumnElement[bool]]:
        """The conditions that this filter adds to those of every list."""
        found: list[ColumnElement[bool]] = [] if self.q is None else [matches(self.q, dialect)]
        if self.query_set is not None:
            found.append(Prompt.query_set_id == self.query_set)
        for name in FACETS:
            wanted = getattr(self, name)
            if name == "bucket" and wanted:
                found.append(Prompt.bucket.in_(wanted))
            elif name == "confident" and wanted is not None:
                found.append(_confident(wanted))
            elif name == "annotated" and wanted is not None:
                found.append(Prompt.annotation_count > 0 if wanted else Prompt.annotation_count == 0)
            elif name not in ("bucket", "confident", "annotated") and wanted is not None:
                found.append(_COLUMNS[name] == wanted)
        return found


def _confident(wanted: bool) -> ColumnElement[bool]:
    if wanted:
        return Prompt.confidence > CONFIDENT
    return or_(Prompt.confidence <= CONFIDENT, Prompt.confidence.is_(None))


@dataclass(frozen=True, slots=True)
class FacetCount:
    """How many prompts share these values."""

    task: str
    relation: str | None
    bucket: str | None
    correct: bool | None
    confident: bool
    annotated: bool
    opponents: bool
    count: int


@dataclass(frozen=True, slots=True)
class MeanMetrics:
    """Means of one method over some prompts; n counts those with a passage that states the fact."""

    mrr: float | None
    recall_at_10: float | None
    precision_at_1: float | None
    precision_at_10: float | None
    n: int
    tail_patch: float | None
    """In percentage points, over the first ten passages of the prompts where it was measured."""
    tail_patch_n: int


def facets(session: Session, q: str | None = None) -> list[FacetCount]:
    """Counts of prompts by every facet together: each facet's counts and every total follow from them."""
    columns = [_COLUMNS[name] for name in FACETS]
    statement = select(*columns, func.count()).where(*PromptFilter(q=q).conditions(_dialect(session)))
    return [FacetCount(*tuple(row)) for row in session.execute(statement.group_by(*columns))]


@dataclass(frozen=True, slots=True)
class PromptOrder:
    """An order of prompts, ties by the order in which they were loaded."""

    key: ColumnElement[Any] | None = None
    """What decides first, smallest first; None for the order of loading alone."""

    def columns(self, *, backwards: bool = False) -> list[ColumnElement[Any]]:
        """For ORDER BY."""
        keys = [Prompt.pk.expression] if self.key is None else [self.key, Prompt.pk.expression]
        return [key.desc() for key in keys] if backwards else keys

    def beyond(self, place: Place, *, backwards: bool = False) -> ColumnElement[bool]:
        """Prompts behind a place of this order, or before it."""

        def past(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
            return column < value if backwards else column > value

        behind = past(Prompt.pk.expression, place.pk)
        if self.key is None:
            return behind
        return or_(past(self.key, place.key), and_(self.key == place.key, behind))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a prompt stands in an order."""

    pk: int
    key: Any


def order_of(sort: Sort, traced_by: Collection[str] = ()) -> PromptOrder:
    """The order that a sort means; ``traced_by`` are the runs whose reciprocal ranks "traced" sorts by.

    Prompts without the value that a sort looks at come last in both directions.
    """
    if sort == "order":
        return PromptOrder()
    of_ranking = select(func.max(Ranking.reciprocal_rank)).where(
        Ranking.prompt_pk == Prompt.pk, Ranking.run_id.in_(traced_by)
    )
    values: dict[str, ColumnElement[Any]] = {
        "confident": Prompt.confidence.expression,
        "stated": Prompt.frequency.expression,
        "traced": of_ranking.scalar_subquery(),
    }
    way, what = sort.split("-")
    value = values[what]
    return PromptOrder(func.coalesce(-value if way in ("most", "best") else value, literal(2.0**31)))


def place_of(session: Session, slug: str, order: PromptOrder) -> Place | None:
    """Where a slug stands in an order; None if there is no such prompt."""
    key = literal(0) if order.key is None else order.key
    row = session.execute(select(Prompt.pk, key).where(Prompt.slug == slug)).one_or_none()
    return None if row is None else Place(row[0], row[1])


def page_of_prompts(
    session: Session, wanted: PromptFilter, order: PromptOrder, after: Place | None, limit: int
) -> list[Prompt]:
    """Up to ``limit`` prompts of a filter in an order, behind a place."""
    statement = select(Prompt).where(*wanted.conditions(_dialect(session)))
    if after is not None:
        statement = statement.where(order.beyond(after))
    return list(session.scalars(statement.order_by(*order.columns()).limit(limit)))


def every_prompt(session: Session, wanted: PromptFilter, order: PromptOrder, batch: int) -> Iterator[Sequence[Prompt]]:
    """All prompts of a filter in an order, in batches; what was yielded is let go of."""
    after = None
    while prompts := page_of_prompts(session, wanted, order, after, batch):
        yield prompts
        after = place_of(session, prompts[-1].slug, order)
        session.expunge_all()


def neighbours(
    session: Session, slug: str, wanted: PromptFilter, order: PromptOrder
) -> tuple[str | None, str | None] | None:
    """Slugs of the prompts before and behind one in a filtered list; None if it is not of the list."""
    conditions = wanted.conditions(_dialect(session))
    inside = select(Prompt.pk).where(Prompt.slug == slug, *conditions)
    if session.scalar(inside) is None:
        return None
    place = place_of(session, slug, order)
    if place is None:
        return None
    before, behind = (
        select(Prompt.slug)
        .where(*conditions, order.beyond(place, backwards=backwards))
        .order_by(*order.columns(backwards=backwards))
        .limit(1)
        .scalar_subquery()
        for backwards in (True, False)
    )
    previous, following = session.execute(select(before, behind)).one()
    return previous, following


def random_slug(session: Session, wanted: PromptFilter) -> str | None:
    """The slug of any prompt of a filter, each as likely as the others; None if there is none."""
    conditions = wanted.conditions(_dialect(session))
    total = session.scalar(select(func.count()).select_from(Prompt).where(*conditions))
    if not total:
        return None
    statement = select(Prompt.slug).where(*conditions).order_by(Prompt.pk)
    return session.scalar(statement.offset(random.randrange(total)).limit(1))


def answers_of(session: Session, prompts: Collection[Prompt]) -> dict[int, Output]:
    """The answer that stands for each of some prompts, by the prompt's primary key."""
    models = {prompt.output_model_id for prompt in prompts} - {None}
    statement = select(Output).where(
        Output.prompt_pk.in_([prompt.pk for prompt in prompts]), Output.model_id.in_(models)
    )
    standing = {prompt.pk: prompt.output_model_id for prompt in prompts}
    return {
        output.prompt_pk: output
        for output in session.scalars(statement)
        if output.model_id == standing[output.prompt_pk]
    }


def rankings_of(session: Session, prompt_pks: Collection[int], run_ids: Collection[str]) -> list[Any]:
    """(prompt_pk, run_id, reciprocal_rank, recall_at_10, precision_at_1, precision_at_10, tail_patch) of rankings."""
    statement = select(
        Ranking.prompt_pk,
        Ranking.run_id,
        Ranking.reciprocal_rank,
        Ranking.recall_at_10,
        Ranking.precision_at_1,
        Ranking.precision_at_10,
        Ranking.tail_patch,
    ).where(Ranking.prompt_pk.in_(prompt_pks), Ranking.run_id.in_(run_ids))
    return list(session.execute(statement))


def mean_metrics(session: Session, wanted: PromptFilter, run_ids: Collection[str]) -> dict[str, MeanMetrics]:
    """Mean metrics of each method over exactly the prompts of a filter; methods without any are left out."""
    statement: Select[*tuple[Any, ...]] = (
        select(
            Run.method,
            func.avg(Ranking.reciprocal_rank),
            func.avg(Ranking.recall_at_10),
            func.avg(Ranking.precision_at_1),
            func.avg(Ranking.precision_at_10),
            func.count(Ranking.reciprocal_rank),
            func.avg(Ranking.tail_patch),
            func.count(Ranking.tail_patch),
        )
        .join(Run, Run.id == Ranking.run_id)
        .where(Ranking.run_id.in_(run_ids))
        .group_by(Run.method)
    )
    # Questions have neither metrics nor a mean tail-patch, so that all rankings of the runs need no look at prompts.
    if wanted.narrowing(_dialect(session)):
        conditions = wanted.conditions(_dialect(session))
        statement = statement.where(Ranking.prompt_pk.in_(select(Prompt.pk).where(*conditions)))
    return {method: MeanMetrics(*means) for method, *means in session.execute(statement) if means[4] or means[6]}


def _dialect(session: Session) -> str:
    return session.get_bind().dialect.name
