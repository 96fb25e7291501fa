"""Reading passages: one with its neighbours and copies, and the prompts that it stands behind."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import Session

from backend.catalogue.models import Corpus, Passage, Prompt, RankedPassage, Ranking, Run


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
    percentile: float
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
    """Ids of the passages before and behind one in its corpus."""
    statement = select(Passage.position, Passage.passage_id).where(
        Passage.corpus_id == passage.corpus_id,
        Passage.position.in_((passage.position - 1, passage.position + 1)),
    )
    found = {position: passage_id for position, passage_id in session.execute(statement)}
    return found.get(passage.position - 1), found.get(passage.position + 1)


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
    members = session.scalars(select(Passage).where(*same).order_by(Passage.position).limit(limit))
    return list(members), total


def influence_counts(session: Session, passage_pk: int, run_ids: Collection[str]) -> dict[tuple[str, bool], int]:
    """How many prompts have the passage among the stored (method, is opponent) passages of these runs."""
    opposes = case((RankedPassage.rank < 0, 1), else_=0)
    statement = _influences(select(Run.method, opposes, func.count()), passage_pk, run_ids).group_by(
        Run.method, opposes
    )
    return {(method, bool(negative)): count for method, negative, count in session.execute(statement)}


def influenced_prompts(
    session: Session, passage_pk: int, run_ids: Collection[str], limit: int
) -> list[InfluencedPrompt]:
    """For each method and side up to ``limit`` prompts that the passage is ranked highest for."""
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
            Prompt.slug,
            Prompt.task,
            Prompt.prompt,
            Prompt.completion,
        )
        .join(Prompt, Prompt.pk == top.c.prompt_pk)
        .where(top.c.place <= limit)
        .order_by(top.c.method, top.c.place)
    )
    return [InfluencedPrompt(*row) for row in session.execute(statement)]


def _influences(
    statement: Select[*tuple[Any, ...]], passage_pk: int, run_ids: Collection[str]
) -> Select[*tuple[Any, ...]]:
    return (
        statement.select_from(RankedPassage)
        .join(Ranking, Ranking.pk == RankedPassage.ranking_pk)
        .join(Run, Run.id == Ranking.run_id)
        .where(RankedPassage.passage_pk == passage_pk, Ranking.run_id.in_(run_ids))
    )
