"""What readers got: every asked prompt with its rankings, in a form that two catalogues can be compared by."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, select

from backend.catalogue.database import read_session
from backend.catalogue.models import Output, Passage, Prompt, RankedPassage, Ranking


def answers(engine: Engine) -> dict[tuple[str, str], Any]:
    """(slug, run id) -> prompt, own answer, distribution and lists; floats as they are stored."""
    found: dict[tuple[str, str], Any] = {}
    with read_session(engine) as session:
        rows = session.execute(
            select(Prompt, Ranking).join(Ranking, Ranking.prompt_pk == Prompt.pk).where(Prompt.asked)
        )
        for prompt, ranking in rows:
            said = select(Output.model_id, Output.text, Output.probability, Output.completion_probability)
            listed = (
                select(RankedPassage.rank, Passage.passage_id, RankedPassage.score, RankedPassage.percentile)
                .join(Passage, Passage.pk == RankedPassage.passage_pk)
                .where(RankedPassage.ranking_pk == ranking.pk)
                .order_by(RankedPassage.rank)
            )
            key = prompt.slug, ranking.run_id
            assert key not in found
            found[key] = (
                (prompt.prompt, prompt.completion, prompt.task),
                [tuple(row) for row in session.execute(said.where(Output.prompt_pk == prompt.pk))],
                (ranking.scored, ranking.minimum, ranking.maximum, ranking.histogram, ranking.facts),
                [tuple(row) for row in session.execute(listed)],
            )
    return found
