"""Writing answers into the catalogue: a ranking appended to its run, in the transaction that ends the job.

The run's id and all rows that it has stay as they are. The prompt of a question belongs to a query set of its own,
beside the one whose runs answer, and no list shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from backend.catalogue.loading_steps import insert_rows, one_at_a_time
from backend.catalogue.models import Output, Passage, Prompt, QuerySet, RankedPassage, Ranking, Run
from backend.catalogue.withheld import whole_text
from backend.core.text import search_words
from backend.jobs.records import RunRecord, asked_slug
from backend.search.reduce import QueryRanking

if TYPE_CHECKING:
    from backend.jobs.engine import Answer


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """What a model says to a prompt."""

    model_id: str
    text: str
    probability: float
    completion_probability: float | None


def run_record(session: Session, run_id: str) -> RunRecord:
    """A run as the engine takes it."""
    run = session.get_one(Run, run_id)
    return RunRecord(run.id, run.method, run.corpus_id, run.query_set_id, run.model_id, run.manifest)


def prompt_of(session: Session, slug: str) -> Prompt | None:
    """An asked prompt, if it is there."""
    return session.scalars(select(Prompt).where(Prompt.slug == slug)).one_or_none()


def has_output(session: Session, slug: str, model_id: str) -> bool:
    """Whether it is known what a model says to an asked prompt."""
    statement = select(Output.prompt_pk).join(Prompt, Prompt.pk == Output.prompt_pk)
    return session.scalar(statement.where(Prompt.slug == slug, Output.model_id == model_id)) is not None


def has_ranking(session: Session, slug: str, run_id: str) -> bool:
    """Whether a run ranks for an asked prompt already."""
    statement = select(Ranking.pk).join(Prompt, Prompt.pk == Ranking.prompt_pk)
    return session.scalar(statement.where(Prompt.slug == slug, Ranking.run_id == run_id)) is not None


def write_prompt(
    session: Session,
    run: RunRecord,
    prompt: str,
    completion: str,
    task: str | None,
    own: OwnAnswer | None,
) -> int:
    """Make sure that a question's prompt is there, with its model's own answer; returns its primary key."""
    one_at_a_time(session)
    slug = asked_slug(run.query_set_id, prompt, completion, task)
    found = prompt_of(session, slug)
    if found is None:
        query_set_id = _asked_set(session, run)
        following = select(func.coalesce(func.max(Prompt.position), -1) + 1).where(Prompt.query_set_id == query_set_id)
        found = Prompt(
            query_set_id=query_set_id,
            position=session.scalar(following),
            query_id=slug,
            slug=slug,
            task=task or "",
            prompt=prompt,
            completion=completion,
            aliases={},
            search_text=" ".join(search_words(f"{prompt} {completion}")),
            asked=True,
        )
        session.add(found)
        session.flush()
    if own is not None and session.get(Output, (found.pk, own.model_id)) is None:
        session.add(
            Output(
                prompt_pk=found.pk,
                model_id=own.model_id,
                text=own.text,
                probability=own.probability,
                completion_probability=own.completion_probability,
                correct=None,
                samples=[],
            )
        )
        found.output_model_id, found.confidence = own.model_id, own.probability
        session.flush()
    return found.pk


def write_ranking(session: Session, run: RunRecord, prompt_pk: int, answer: Answer) -> None:
    """Append a question's ranking to its run; a no-op where it is there."""
    if session.scalar(select(Ranking.pk).where(Ranking.run_id == run.id, Ranking.prompt_pk == prompt_pk)) is not None:
        return
    found = answer.ranking
    whole = found if isinstance(found, QueryRanking) else None  # of candidates alone, no distribution is known
    ranking = Ranking(
        run_id=run.id,
        prompt_pk=prompt_pk,
        scored=whole.scored if whole else None,
        minimum=whole.range[0] if whole else None,
        maximum=whole.range[1] if whole else None,
        histogram=whole.histogram.tolist() if whole else None,
        facts=answer.facts,
    )
    session.add(ranking)
    session.flush()
    sides = (
        (1, found.proponents, found.proponent_scores, whole.proponent_percentiles.tolist() if whole else None),
        (-1, found.opponents, found.opponent_scores, whole.opponent_percentiles.tolist() if whole else None),
    )
    pks = _passage_pks(session, run.corpus_id, sorted({*found.proponents.tolist(), *found.opponents.tolist()}))
    rows = [
        {
            "ranking_pk": ranking.pk,
            "rank": sign * (place + 1),
            "passage_pk": pks[position],
            "score": score,
            "percentile": percentile,
        }
        for sign, positions, scores, percentiles in sides
        for place, (position, score, percentile) in enumerate(
            zip(positions.tolist(), scores.tolist(), percentiles or [None] * len(positions), strict=True)
        )
    ]
    insert_rows(session, RankedPassage, rows)
    if run.model_id is not None and len(found.opponents):
        session.execute(update(Prompt).where(Prompt.pk == prompt_pk).values(has_opponents=True))


def first_passages(session: Session, run_id: str, slug: str, k: int) -> list[tuple[int, str, str]]:
    """(rank, id, text) of the first proponents of a run's list for a prompt."""
    statement = (
        select(RankedPassage.rank, Passage.passage_id, whole_text())
        .join(Ranking, Ranking.pk == RankedPassage.ranking_pk)
        .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        .join(Passage, Passage.pk == RankedPassage.passage_pk)
        .where(Ranking.run_id == run_id, Prompt.slug == slug, RankedPassage.rank.between(1, k))
        .order_by(RankedPassage.rank)
    )
    return [(rank, passage_id, text) for rank, passage_id, text in session.execute(statement)]


def write_tail_patch(session: Session, run_id: str, prompt_pk: int, changes: dict[int, float]) -> None:
    """Note the tail-patch (percentage points) of passages of a list, by rank."""
    ranking_pk = session.scalar(select(Ranking.pk).where(Ranking.run_id == run_id, Ranking.prompt_pk == prompt_pk))
    for rank, change in changes.items():
        session.execute(
            update(RankedPassage)
            .where(RankedPassage.ranking_pk == ranking_pk, RankedPassage.rank == rank)
            .values(tail_patch=change)
        )


def _asked_set(session: Session, run: RunRecord) -> str:
    """The query set that holds the questions to a run's query set; made with the first of them."""
    known = session.scalar(select(QuerySet.id).where(QuerySet.asked_of == run.query_set_id))
    if known is not None:
        return known
    base = session.get_one(QuerySet, run.query_set_id)
    asked = QuerySet(
        id=f"asked-{run.query_set_id}",
        name=f"{base.name}: questions",
        corpus_id=run.corpus_id,
        created_at=datetime.now(UTC),
        manifest={"kind": "questions", "inputs": {"queries": run.query_set_id}, "config": {}},
        asked_of=run.query_set_id,
    )
    session.add(asked)
    session.flush()
    return asked.id


def _passage_pks(session: Session, corpus_id: str, positions: Sequence[int]) -> dict[int, int]:
    statement = select(Passage.position, Passage.pk)
    statement = statement.where(Passage.corpus_id == corpus_id, Passage.position.in_(positions))
    return {position: pk for position, pk in session.execute(statement)}
