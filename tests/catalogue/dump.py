"""A catalogue's content without what may differ between equal catalogues: surrogate keys and the clock."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, func, select

from backend.catalogue.database import read_session
from backend.catalogue.models import Base, ContentVersion, Passage, Prompt, RankedPassage, Ranking


def counts(engine: Engine) -> dict[str, int]:
    """Rows of every table but the one that counts writes."""
    with read_session(engine) as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
            if table.name != ContentVersion.__tablename__
        }


def ranked(engine: Engine) -> list[Any]:
    """Every ranked passage as (run, slug, rank, passage id, score, percentile)."""
    statement = (
        select(
            Ranking.run_id,
            Prompt.slug,
            RankedPassage.rank,
            Passage.passage_id,
            RankedPassage.score,
            RankedPassage.percentile,
        )
        .join(Ranking, Ranking.pk == RankedPassage.ranking_pk)
        .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        .join(Passage, Passage.pk == RankedPassage.passage_pk)
        .order_by(Ranking.run_id, Prompt.position, RankedPassage.rank)
    )
    with read_session(engine) as session:
        return [tuple(row) for row in session.execute(statement)]
