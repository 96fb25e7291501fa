"""Reading what the home page says: counts and striking examples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.catalogue.models import Corpus, Output, Passage, Prompt, RankedPassage, Ranking, Run


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt, the model's answer, and the first passage that a run ranks for it."""

    slug: str
    task: str
    relation: str | None
    prompt: str
    completion: str
    output: str
    probability: float
    run_id: str
    passage_id: str
    passage_text: str
    passage_source: str
    percentile: float


def passage_total(session: Session) -> int:
    """Passages of all corpora together."""
    return session.scalar(select(func.coalesce(func.sum(Corpus.passage_count), 0))) or 0


def prompts_by_task(session: Session) -> dict[str, int]:
    """Number of prompts of each task that has any."""
    statement = select(Prompt.task, func.count()).where(Prompt.asked.is_(False)).group_by(Prompt.task)
    return {task: count for task, count in session.execute(statement)}


def traced_facts(session: Session, run_ids: Collection[str], limit: int) -> list[Example]:
    """Facts the model gets right whose first proponent states them, most confident first."""
    statement = (
        select(
            Prompt.slug,
            Prompt.task,
            Prompt.relation,
            Prompt.prompt,
            Prompt.completion,
            Output.text,
            Output.probability,
            Ranking.run_id,
            Passage.passage_id,
            Passage.text,
            Passage.source,
            RankedPassage.percentile,
        )
        .select_from(Ranking)
        .join(Run, Run.id == Ranking.run_id)
        .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        .join(Output, (Output.prompt_pk == Prompt.pk) & (Output.model_id == Run.model_id))
        .join(RankedPassage, (RankedPassage.ranking_pk == Ranking.pk) & (RankedPassage.rank == 1))
        .join(Passage, Passage.pk == RankedPassage.passage_pk)
        .where(Ranking.run_id.in_(run_ids), Ranking.precision_at_1 == 1.0, Output.correct.is_(True))
        .where(Prompt.task == "facts", Passage.withheld.is_(False))
        .order_by(Output.probability.desc(), Prompt.pk)
        .limit(limit)
    )
    return [Example(*tuple(row)) for row in session.execute(statement)]
