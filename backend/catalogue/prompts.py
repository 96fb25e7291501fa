"""Reading one prompt: its outputs, its rankings and the passages in them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.catalogue.models import (
    Entailment,
    Output,
    Passage,
    Prompt,
    QuerySet,
    RankedPassage,
    Ranking,
)
from backend.catalogue.withheld import revealed


class RankedRow(NamedTuple):
    """A passage in a ranking; rank is negative for opponents."""

    ranking_pk: int
    rank: int
    passage_pk: int
    score: float
    percentile: float | None
    tail_patch: float | None


def prompt_by_slug(session: Session, slug: str) -> tuple[Prompt, str] | None:
    """One prompt and the id of its corpus; None if there is no such prompt."""
    statement = select(Prompt, QuerySet.corpus_id).join(QuerySet, QuerySet.id == Prompt.query_set_id)
    row = session.execute(statement.where(Prompt.slug == slug)).one_or_none()
    return None if row is None else (row[0], row[1])


def answering_set_of(session: Session, prompt: Prompt) -> str:
    """The query set whose runs rank passages for a prompt: its own, or of a reader's question the one it asks."""
    asked_of = session.get_one(QuerySet, prompt.query_set_id).asked_of if prompt.asked else None
    return asked_of or prompt.query_set_id


def outputs_of(session: Session, prompt_pk: int) -> list[Output]:
    """A prompt's stored model outputs."""
    return list(session.scalars(select(Output).where(Output.prompt_pk == prompt_pk).order_by(Output.model_id)))


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
    rows = session.execute(statement.order_by(RankedPassage.rank)).all()
    return cast("list[RankedRow]", rows)  # hundreds a page: rows have the same names, and making others takes time


def ranked_fields(row: RankedRow, passage: Passage) -> dict[str, Any]:
    """What every JSON of a listed passage begins with."""
    return {
        "rank": abs(row.rank),
        "score": row.score,
        "percentile": row.percentile,
        "passage_id": passage.passage_id,
        "text": passage.text,
        "source": passage.source,
    }


def entailing_passages(session: Session, prompt_pk: int) -> set[int]:
    """Primary keys of the passages that state a prompt's fact."""
    return set(session.scalars(select(Entailment.passage_pk).where(Entailment.prompt_pk == prompt_pk)))


def passages_by_pk(session: Session, pks: Collection[int]) -> dict[int, Passage]:
    """The passages with the given primary keys."""
    found = revealed(session, session.scalars(select(Passage).where(Passage.pk.in_(pks))).all())
    return {passage.pk: passage for passage in found}


def passage_identities(session: Session, pks: Collection[int]) -> dict[int, tuple[str, str | None]]:
    """Primary key -> (id, near-duplicate group) of passages."""
    statement = select(Passage.pk, Passage.passage_id, Passage.near_duplicates).where(Passage.pk.in_(pks))
    return {pk: (passage_id, group) for pk, passage_id, group in session.execute(statement)}


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


def passages_by_ids(session: Session, corpus_id: str, ids: Collection[str]) -> list[Passage]:
    """The passages of a corpus with the given ids."""
    wanted = select(Passage).where(Passage.corpus_id == corpus_id, Passage.passage_id.in_(ids))
    return list(revealed(session, session.scalars(wanted).all()))
