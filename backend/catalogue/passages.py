"""Reading passages: one with its neighbours and copies, and the prompts that it stands behind."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.orm import Session

from backend.catalogue.models import Corpus, Passage, Prompt, RankedPassage, Ranking, Run
from backend.catalogue.withheld import revealed


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage with its corpus; ``other_corpora`` also hold a passage of its id."""

    passage: Passage
    corpus_id: str
    corpus_name: str
    passage_count: int
    other_corpora: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class InfluencedPrompt:
    """A prompt that a passage is a stored proponent (rank > 0) or opponent (rank < 0) of."""

    run_id: str
    method: str
    rank: int
    score: float
    percentile: float | None
    tail_patch: float | None
    """What one training step on the passage does to the completion, in percentage points; None: not measured."""
    slug: str
    task: str
    prompt: str
    completion: str


def find_passage(session: Session, passage_id: str, corpus_id: str | None = None) -> FoundPassage | None:
    """The passage of an id, in the named corpus or else in the newest one that holds it."""
    statement = (
        select(Passage, Corpus.id, Corpus.name, Corpus.passage_count)
        .join(Corpus, Corpus.id == Passage.corpus_id)
        .where(Passage.passage_id == passage_id)
        .order_by(Corpus.created_at.desc(), Corpus.id.desc())
    )
    rows = list(session.execute(statement))
    chosen = next((row for row in rows if corpus_id in (None, row[1])), None)
    if chosen is None:
        return None
    revealed(session, [chosen[0]])
    return FoundPassage(
        passage=chosen[0],
        corpus_id=chosen[1],
        corpus_name=chosen[2],
        passage_count=chosen[3],
        other_corpora=[(row[1], row[2]) for row in rows if row[1] != chosen[1]],
    )


def newest_corpus_id(session: Session) -> str | None:
    """The corpus whose passages their ids name without saying which corpus."""
    return session.scalar(select(Corpus.id).order_by(Corpus.created_at.desc(), Corpus.id.desc()).limit(1))


def adjacent(session: Session, passage: Passage) -> tuple[str | None, str | None]:
    """Ids of the passages before and behind one in its source."""
    same = (Passage.corpus_id == passage.corpus_id, Passage.source == passage.source)
    before = select(Passage.passage_id).where(*same, Passage.position < passage.position)
    behind = select(Passage.passage_id).where(*same, Passage.position > passage.position)
    previous, following = session.execute(
        select(
            before.order_by(Passage.position.desc()).limit(1).scalar_subquery(),
            behind.order_by(Passage.position).limit(1).scalar_subquery(),
        )
    ).one()
    return previous, following


@dataclass(frozen=True, slots=True)
class TaskShare:
    """Of how many of a task's prompts a passage is a stored proponent."""

    task: str
    influenced: int
    prompts: int


def task_shares(session: Session, passage_pk: int, run_ids: Collection[str]) -> list[TaskShare]:
    """For each task that the passage is a stored proponent in, by these runs: in how many of its prompts."""
    influenced = (
        _influences(select(Prompt.task, func.count(Prompt.pk.distinct())), passage_pk, run_ids)
        .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        .where(RankedPassage.rank > 0)
        .group_by(Prompt.task)
    )
    found = {task: count for task, count in session.execute(influenced)}
    if not found:
        return []
    sets = select(Run.query_set_id).where(Run.id.in_(run_ids))
    totals = select(Prompt.task, func.count()).where(Prompt.query_set_id.in_(sets)).group_by(Prompt.task)
    return [TaskShare(task, found[task], total) for task, total in session.execute(totals) if task in found]


def group_members(session: Session, passage: Passage, limit: int) -> tuple[list[Passage], int]:
    """Up to ``limit`` other passages of a passage's near-duplicate group, and how many others there are."""
    if passage.near_duplicates is None:
        return [], 0
    same = (
        Passage.corpus_id == passage.corpus_id,
        Passage.near_duplicates == passage.near_duplicates,
        Passage.pk != passage.pk,
    )
    total = session.scalar(select(func.count()).select_from(Passage).where(*same)) or 0
    members = session.scalars(select(Passage).where(*same).order_by(Passage.position).limit(limit)).all()
    return list(revealed(session, members)), total


def influence_counts(session: Session, passage_pk: int, run_ids: Collection[str]) -> dict[tuple[str, bool], int]:
    """How many prompts have the passage among the stored (method, is opponent) passages of these runs."""
    opposes = case((RankedPassage.rank < 0, 1), else_=0)
    statement = _influences(select(Run.method, opposes, func.count()), passage_pk, run_ids).group_by(
        Run.method, opposes
    )
    return {(method, bool(negative)): count for method, negative, count in session.execute(statement)}


def influenced_prompts(
    session: Session, passage_pk: int, run_ids: Collection[str], limit: int | None
) -> list[InfluencedPrompt]:
    """For each method and side up to ``limit`` prompts (None: all) that the passage is ranked highest for."""
    place = func.row_number().over(
        partition_by=(Run.method, case((RankedPassage.rank < 0, 1), else_=0)),
        order_by=(func.abs(RankedPassage.rank), Ranking.prompt_pk),
    )
    columns = (
        Run.id.label("run_id"),
        Run.method,
        RankedPassage.rank,
        RankedPassage.score,
        RankedPassage.percentile,
        RankedPassage.tail_patch,
        Ranking.prompt_pk,
        place.label("place"),
    )
    top = _influences(select(*columns), passage_pk, run_ids).subquery()
    statement = (
        select(
            top.c.run_id,
            top.c.method,
            top.c.rank,
            top.c.score,
            top.c.percentile,
            top.c.tail_patch,
            Prompt.slug,
            Prompt.task,
            Prompt.prompt,
            Prompt.completion,
        )
        .join(Prompt, Prompt.pk == top.c.prompt_pk)
        .order_by(top.c.method, top.c.place)
    )
    if limit is not None:
        statement = statement.where(top.c.place <= limit)
    return [InfluencedPrompt(*row) for row in session.execute(statement)]


def _influences(
    statement: Select[*tuple[Any, ...]], passage_pk: int, run_ids: Collection[str]
) -> Select[*tuple[Any, ...]]:
    return (
        statement.select_from(RankedPassage)
        .join(Ranking, Ranking.pk == RankedPassage.ranking_pk)
        .join(Run, Run.id == Ranking.run_id)
        .where(RankedPassage.passage_pk == passage_pk, Ranking.run_id.in_(run_ids))
        .where(Ranking.prompt_pk.not_in(select(Prompt.pk).where(Prompt.asked)))
    )


def corpus_exists(session: Session, corpus_id: str) -> bool:
    """True if there is a corpus of this id."""
    return session.scalar(select(Corpus.id).where(Corpus.id == corpus_id)) is not None


def position_of(session: Session, corpus_id: str, passage_id: str) -> int | None:
    """The row of a passage in its corpus; None if the corpus has no such passage."""
    return session.scalar(
        select(Passage.position).where(Passage.corpus_id == corpus_id, Passage.passage_id == passage_id)
    )


def page_of_passages(
    session: Session, corpus_id: str, source: str | None, after: int | None, limit: int
) -> list[Passage]:
    """Up to ``limit`` passages of a corpus, or of one of its sources, behind a position."""
    statement = select(Passage).where(*_listed(corpus_id, source))
    if after is not None:
        statement = statement.where(Passage.position > after)
    return list(revealed(session, session.scalars(statement.order_by(Passage.position).limit(limit)).all()))


def count_passages(session: Session, corpus_id: str, source: str | None) -> int:
    """How many passages a corpus has, or one of its sources."""
    return session.scalar(select(func.count()).select_from(Passage).where(*_listed(corpus_id, source))) or 0


def _listed(corpus_id: str, source: str | None) -> list[ColumnElement[bool]]:
    own = [Passage.corpus_id == corpus_id]
    return own if source is None else [*own, Passage.source == source]
