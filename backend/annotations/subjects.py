"""What a judgement is about: the prompt and the passage in the catalogue, and the words of them that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.annotations.writing import About
from backend.catalogue.models import Passage, Prompt, QuerySet, RankedPassage, Ranking, Run
from backend.catalogue.withheld import revealed


@dataclass(frozen=True, slots=True)
class Pair:
    """A passage for a query, as the catalogue holds them now."""

    prompt: Prompt
    passage: Passage

    def about(self, pool_id: str | None, ranks: Mapping[str, int]) -> About:
        """It as the subject of a judgement; ``ranks``: run id -> the passage's rank in its list."""
        subject: dict[str, Any] = {
            "slug": self.prompt.slug,
            "task": self.prompt.task,
            "prompt": self.prompt.prompt,
            "completion": self.prompt.completion,
            "passage_id": self.passage.passage_id,
            "corpus": self.passage.corpus_id,
            "runs": dict(ranks),
        }
        return About(self.prompt.query_hash, self.passage.content_hash, pool_id, subject)


def pair_in_place(session: Session, slug: str, passage_id: str) -> Pair | None:
    """A passage of the corpus that a prompt is asked of; None where either is not there."""
    row = session.execute(
        select(Prompt, Passage)
        .join(QuerySet, QuerySet.id == Prompt.query_set_id)
        .join(Passage, Passage.corpus_id == QuerySet.corpus_id)
        .where(Prompt.slug == slug, Passage.passage_id == passage_id)
    ).one_or_none()
    return None if row is None else _pair(session, row[0], row[1])


def pair_of_hashes(session: Session, query_hash: str, content_hash: str) -> Pair | None:
    """A query and a passage by their texts, in the corpus loaded last that holds both; None where none does."""
    row = session.execute(
        select(Prompt, Passage)
        .join(QuerySet, QuerySet.id == Prompt.query_set_id)
        .join(Passage, Passage.corpus_id == QuerySet.corpus_id)
        .where(Prompt.query_hash == query_hash, Passage.content_hash == content_hash)
        .order_by(Prompt.asked, QuerySet.created_at.desc(), Prompt.pk, Passage.position)
        .limit(1)
    ).one_or_none()
    return None if row is None else _pair(session, row[0], row[1])


def _pair(session: Session, prompt: Prompt, passage: Passage) -> Pair:
    """The pair with its passage's text, withheld or not: whoever judges may see it."""
    revealed(session, [passage], to_all=True)
    return Pair(prompt, passage)


def ranks_of(session: Session, pair: Pair) -> dict[str, int]:
    """Run id -> rank of every stored list of the prompt that holds the passage; negative for opponents."""
    rows = session.execute(
        select(Run.id, RankedPassage.rank)
        .join(Ranking, Ranking.run_id == Run.id)
        .join(RankedPassage, RankedPassage.ranking_pk == Ranking.pk)
        .where(Ranking.prompt_pk == pair.prompt.pk, RankedPassage.passage_pk == pair.passage.pk)
        .order_by(Run.id)
    )
    return {run_id: rank for run_id, rank in rows}
