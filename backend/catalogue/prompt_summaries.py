"""What lists filter prompts by, worked out from outputs and runs whenever either is loaded."""

from __future__ import annotations

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from backend.catalogue.left_out import base_of_model
from backend.catalogue.models import Model, Output, OutputSet, Prompt, RankedPassage, Ranking, Run
from backend.catalogue.runs import current_runs


def summarize_prompts(session: Session, query_set_id: str) -> None:
    """Write the answer that stands for each prompt of a set, and whether it has opponents.

    The answer is that of the newest run's model, else of the model that answered last; models that were trained
    without some passages stand for no prompt. Opponents are those of
    current runs of methods that look at the model: a lexical or random score below zero opposes nothing.
    """
    model_id = _answering_model(session, query_set_id)
    answer = (Output.prompt_pk == Prompt.pk, Output.model_id == model_id)
    informed = [run.id for run in current_runs(session, query_set_id) if run.model_id is not None]
    opposed = exists().where(
        Ranking.prompt_pk == Prompt.pk,
        Ranking.run_id.in_(informed),
        RankedPassage.ranking_pk == Ranking.pk,
        RankedPassage.rank == -1,
    )
    session.execute(
        update(Prompt)
        .where(Prompt.query_set_id == query_set_id)
        .values(
            output_model_id=select(Output.model_id).where(*answer).scalar_subquery(),
            correct=select(Output.correct).where(*answer).scalar_subquery(),
            confidence=select(Output.probability).where(*answer).scalar_subquery(),
            has_opponents=opposed,
        )
        .execution_options(synchronize_session=False)
    )


def _answering_model(session: Session, query_set_id: str) -> str | None:
    whole = select(Model.id).where(base_of_model().is_(None))
    answered = select(OutputSet.model_id).where(OutputSet.query_set_id == query_set_id, OutputSet.model_id.in_(whole))
    of_run = (
        select(Run.model_id)
        .where(Run.query_set_id == query_set_id, Run.model_id.in_(answered))
        .order_by(Run.created_at.desc(), Run.id.desc())
    )
    newest = answered.order_by(OutputSet.created_at.desc(), OutputSet.id.desc())
    return session.scalar(of_run.limit(1)) or session.scalar(newest.limit(1))
