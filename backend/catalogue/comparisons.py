"""A model that was trained without some passages beside the model of the whole corpus: what became of each prompt.

"Before" is the model of the whole corpus, "after" the one without the passages. What is compared are the greedy answers
and the probabilities of the completions; a prompt counts once both models have answered it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Row, Select, Subquery, and_, case, func, select
from sqlalchemy.orm import Session, aliased

from backend.catalogue.left_out import base_of_model, left_out_ids, values_of
from backend.catalogue.models import Corpus, Entailment, Model, Output, Passage, Prompt
from backend.catalogue.search import matches
from backend.core.left_out import WITHOUT
from backend.core.metrics import by_task_and_bucket

RESAMPLES = 1000
"""Bootstrap resamples of an interval."""

BATCH = 500
"""Prompts that an export reads at once."""

UNJUDGED = "wrong-predictions"
"""Its completions are wrong answers: no answer to these is known to be right, so there is no share of right ones."""

STATED = ("all", "some", "none")
"""How many of the passages that state a prompt were left out."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model that was trained without some passages, and the model that it is compared with."""

    model_id: str
    model_name: str
    base_id: str
    base_name: str | None
    """None where that model is not there any more."""
    corpus_id: str
    corpus_name: str
    passages: int
    """Of the corpus."""
    left_out: int
    sha256: str
    """Of the list of their ids."""
    created_at: datetime
    seconds: float | None
    """The training."""
    parameters: int


class Counts(NamedTuple):
    """Sums over prompts that both models answered."""

    n: int
    judged: int
    """Those whose answers are right or wrong."""
    right_before: int
    right_after: int
    gained: int
    """Wrong before, right after."""
    lost: int
    measured: int
    """Those whose completion's probability is known of both."""
    probability_before: float
    """Summed."""
    probability_after: float


@dataclass(frozen=True, slots=True)
class Cell:
    """Means over some prompts, before and after; None where there is nothing to average."""

    n: int
    judged: int
    accuracy_before: float | None
    accuracy_after: float | None
    difference: float | None
    low: float | None
    """With ``high`` the difference's 95% interval: paired bootstrap over prompts."""
    high: float | None
    gained: int
    lost: int
    probability_before: float | None
    """Of the completions, mean over the prompts where both models' is known."""
    probability_after: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """One prompt before and after."""

    slug: str
    query_id: str
    task: str
    bucket: str | None
    prompt: str
    completion: str
    stated_by: int | None
    """How many passages state it; None where that has no meaning."""
    left_out: int
    """How many of those were left out."""
    probability_before: float | None
    """Of the completion."""
    probability_after: float | None
    answer_before: str
    answer_after: str
    correct_before: bool | None
    correct_after: bool | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which prompts are listed; None lets everything through."""

    q: str | None = None
    slugs: tuple[str, ...] | None = None
    most_changed: bool = False
    """In the order of their change alone: a left-out passage that states a prompt brings it no further to the front."""


def count_comparisons(session: Session) -> int:
    """How many models were trained without some passages."""
    return session.scalar(select(func.count()).select_from(Model).where(base_of_model().is_not(None))) or 0


def list_comparisons(session: Session, start: int, limit: int) -> list[Comparison]:
    """Up to ``limit`` of them from the ``start``-th on (from 1), newest first."""
    statement = _comparisons().order_by(Model.created_at.desc(), Model.id.desc())
    return [_comparison(row) for row in session.execute(statement.offset(start - 1).limit(limit))]


def find_comparison(session: Session, model_id: str) -> Comparison | None:
    """The comparison of a model; None where it is no model that was trained without passages."""
    row = session.execute(_comparisons().where(Model.id == model_id)).one_or_none()
    return None if row is None else _comparison(row)


def comparisons_with(session: Session, model_id: str) -> list[str]:
    """Ids of the models that are compared with a model, newest first."""
    statement = select(Model.id).where(base_of_model() == model_id)
    return list(session.scalars(statement.order_by(Model.created_at.desc(), Model.id.desc())))


def _comparisons() -> Select[Any]:
    base = aliased(Model)
    return (
        select(Model.id, Model.name, Model.manifest, Model.created_at, Model.parameter_count)
        .add_columns(base.name.label("base_name"), Corpus.id.label("corpus_id"), Corpus.name.label("corpus_name"))
        .add_columns(Corpus.passage_count)
        .join(Corpus, Corpus.id == Model.corpus_id)
        .outerjoin(base, base.id == base_of_model())
        .where(base_of_model().is_not(None))
    )


def _comparison(row: Row[Any]) -> Comparison:
    settings = row.manifest["config"][WITHOUT]
    return Comparison(
        model_id=row.id,
        model_name=row.name,
        base_id=settings["base"],
        base_name=row.base_name,
        corpus_id=row.corpus_id,
        corpus_name=row.corpus_name,
        passages=row.passage_count,
        left_out=settings["passages"],
        sha256=settings["sha256"],
        created_at=row.created_at,
        seconds=row.manifest.get("seconds"),
        parameters=row.parameter_count,
    )


def sources_left_out(session: Session, found: Comparison) -> list[tuple[str, int, int]]:
    """(source, passages left out, passages of the corpus) of each source that lost some, the most first."""
    counted = select(Passage.source, func.count()).where(Passage.corpus_id == found.corpus_id).group_by(Passage.source)
    lost = {source: count for source, count in session.execute(counted.where(_is_left_out(session, found)))}
    whole = {source: count for source, count in session.execute(counted.where(Passage.source.in_(lost)))}
    return [
        (source, lost[source], whole[source]) for source in sorted(lost, key=lambda source: (-lost[source], source))
    ]


def cells(session: Session, found: Comparison) -> dict[tuple[str, str], Cell]:
    """(task, bucket) -> means before and after; "" for all tasks, and for all buckets."""
    both = _Both(session, found)
    statement = both.joined(Prompt.task, Prompt.bucket, *both.sums()).group_by(Prompt.task, Prompt.bucket)
    rows = [(task, bucket, sums) for task, bucket, *sums in session.execute(statement)]
    return {key: _cell(parts) for key, parts in by_task_and_bucket(rows).items()}


def cells_by_stated(session: Session, found: Comparison) -> dict[str, Cell]:
    """Prompts that some passage states, by how many of those were left out: all, some or none."""
    both = _Both(session, found)
    kind = case((both.left_out == 0, "none"), (both.left_out >= Prompt.frequency, "all"), else_="some")
    statement = both.joined(kind.label("kind"), *both.sums()).where(Prompt.frequency > 0).group_by("kind")
    rows = {row[0]: _cell([row[1:]]) for row in session.execute(statement)}
    return {kind: rows[kind] for kind in STATED if kind in rows}


def rows_of(found: dict[tuple[str, str], Cell]) -> list[dict[str, Any]]:
    """Means by task and bucket as JSON has them; None for all."""
    return [{"task": task or None, "bucket": bucket or None, **asdict(cell)} for (task, bucket), cell in found.items()]


def stated_rows(found: dict[str, Cell]) -> list[dict[str, Any]]:
    """Means by how many stating passages were left out, as JSON has them."""
    return [{"left_out": kind, **asdict(cell)} for kind, cell in found.items()]


def count_changes(session: Session, found: Comparison, wanted: Wanted) -> int:
    """How many prompts a list holds."""
    both = _Both(session, found)
    return session.scalar(both.joined(func.count()).where(*both.conditions(wanted))) or 0


def list_changes(session: Session, found: Comparison, wanted: Wanted, start: int, limit: int) -> list[Change]:
    """Up to ``limit`` prompts from the ``start``-th on (from 1).

    First those that a left-out passage states; within both groups those whose completion's probability changed most.
    """
    return [_change(row) for row in session.execute(_changes(session, found, wanted).offset(start - 1).limit(limit))]


def every_change(session: Session, found: Comparison, wanted: Wanted) -> Iterator[Change]:
    """All of a list, in its order."""
    rows = session.execute(_changes(session, found, wanted), execution_options={"yield_per": BATCH})
    for row in rows:
        yield _change(row)


def unknown_slugs(session: Session, found: Comparison, slugs: Collection[str]) -> list[str]:
    """Those of some slugs that are no prompt which both models answered."""
    both = _Both(session, found)
    known = set(session.scalars(both.joined(Prompt.slug).where(Prompt.slug.in_(slugs))))
    return [slug for slug in slugs if slug not in known]


def _changes(session: Session, found: Comparison, wanted: Wanted) -> Select[Any]:
    both = _Both(session, found)
    columns = (
        *(Prompt.slug, Prompt.query_id, Prompt.task, Prompt.bucket, Prompt.prompt, Prompt.completion, Prompt.frequency),
        both.left_out.label("left_out"),
        both.before.completion_probability.label("probability_before"),
        both.after.completion_probability.label("probability_after"),
        both.before.text.label("answer_before"),
        both.after.text.label("answer_after"),
        both.before.correct.label("correct_before"),
        both.after.correct.label("correct_after"),
    )
    change = func.abs(both.after.completion_probability - both.before.completion_probability)
    stated_first = [] if wanted.most_changed else [case((both.left_out > 0, 0), else_=1)]
    order = (*stated_first, func.coalesce(change, -1.0).desc(), Prompt.pk)
    return both.joined(*columns).where(*both.conditions(wanted)).order_by(*order)


def _change(row: Row[Any]) -> Change:
    return Change(
        slug=row.slug,
        query_id=row.query_id,
        task=row.task,
        bucket=row.bucket,
        prompt=row.prompt,
        completion=row.completion,
        stated_by=row.frequency,
        left_out=row.left_out,
        probability_before=row.probability_before,
        probability_after=row.probability_after,
        answer_before=row.answer_before,
        answer_after=row.answer_after,
        correct_before=row.correct_before,
        correct_after=row.correct_after,
    )


class _Both:
    """Prompts with both models' answers, and how many of the passages that state each were left out."""

    def __init__(self, session: Session, found: Comparison) -> None:
        self._found = found
        self._dialect = session.get_bind().dialect.name
        self.before, self.after = aliased(Output), aliased(Output)
        self._stated = _stated(session, found)
        self.left_out: ColumnElement[int] = func.coalesce(self._stated.c.left_out, 0)

    def joined(self, *columns: Any) -> Select[Any]:
        """These columns of every prompt that both answered; readers' own questions are left out."""
        before, after = self.before, self.after
        return (
            select(*columns)
            .select_from(Prompt)
            .join(before, and_(before.prompt_pk == Prompt.pk, before.model_id == self._found.base_id))
            .join(after, and_(after.prompt_pk == Prompt.pk, after.model_id == self._found.model_id))
            .outerjoin(self._stated, self._stated.c.prompt_pk == Prompt.pk)
            .where(Prompt.asked.is_(False))
        )

    def conditions(self, wanted: Wanted) -> list[ColumnElement[bool]]:
        """A list's filter."""
        found: list[ColumnElement[bool]] = []
        if wanted.q is not None:
            found.append(matches(wanted.q, self._dialect))
        if wanted.slugs is not None:
            found.append(Prompt.slug.in_(wanted.slugs))
        return found

    def sums(self) -> list[ColumnElement[Any]]:
        """The columns of ``Counts``."""
        before, after = self.before, self.after
        judged = and_(before.correct.is_not(None), after.correct.is_not(None), Prompt.task != UNJUDGED)
        right, right_now = before.correct.is_(True), after.correct.is_(True)
        known = and_(before.completion_probability.is_not(None), after.completion_probability.is_not(None))

        def total(condition: ColumnElement[bool], value: Any = 1) -> ColumnElement[Any]:
            return func.coalesce(func.sum(case((condition, value), else_=0)), 0)

        return [
            func.count(),
            total(judged),
            total(and_(judged, right)),
            total(and_(judged, right_now)),
            total(and_(judged, right_now, before.correct.is_(False))),
            total(and_(judged, right, after.correct.is_(False))),
            total(known),
            total(known, before.completion_probability),
            total(known, after.completion_probability),
        ]


def _stated(session: Session, found: Comparison) -> Subquery:
    """(prompt_pk, left_out) of prompts that a left-out passage states."""
    return (
        select(Entailment.prompt_pk, func.count().label("left_out"))
        .join(Passage, Passage.pk == Entailment.passage_pk)
        .where(Passage.corpus_id == found.corpus_id, _is_left_out(session, found))
        .group_by(Entailment.prompt_pk)
        .subquery()
    )


def _is_left_out(session: Session, found: Comparison) -> ColumnElement[bool]:
    ids = left_out_ids(session, found.model_id)
    return Passage.passage_id.in_(values_of(ids, session.get_bind().dialect.name))


def _cell(parts: Sequence[Sequence[Any]]) -> Cell:
    """The means over prompts whose sums were taken in parts."""
    counts = Counts(*map(sum, zip(*parts, strict=True)))
    judged, measured = counts.judged, counts.measured
    low, high = difference_interval(judged, counts.gained, counts.lost)
    return Cell(
        n=counts.n,
        judged=judged,
        accuracy_before=counts.right_before / judged if judged else None,
        accuracy_after=counts.right_after / judged if judged else None,
        difference=(counts.right_after - counts.right_before) / judged if judged else None,
        low=low,
        high=high,
        gained=counts.gained,
        lost=counts.lost,
        probability_before=counts.probability_before / measured if measured else None,
        probability_after=counts.probability_after / measured if measured else None,
    )


def difference_interval(n: int, gained: int, lost: int, seed: int = 0) -> tuple[float | None, float | None]:
    """95% interval of a mean difference of n prompts, of which some gained 1, some lost 1 and the others stayed.

    A paired bootstrap: to draw n prompts with replacement is to draw how many of each of the three kinds there are.
    None of no prompts.
    """
    if n == 0:
        return None, None
    shares = np.array([gained, lost, n - gained - lost]) / n
    drawn = np.random.RandomState(seed).multinomial(n, shares, RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, (0.025, 0.975))
    return float(low), float(high)
