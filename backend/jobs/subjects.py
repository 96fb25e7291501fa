"""What may be asked about: a model, its corpus, and the current run of each method over them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.catalogue.loading_runs import IMPORTED
from backend.catalogue.models import QuerySet
from backend.catalogue.runs import RunSummary, current_runs, runs_by_id
from backend.jobs.records import JobRequest, rank_request


@dataclass(frozen=True, slots=True)
class Subject:
    """A query set whose runs answer questions; its corpus and model."""

    query_set_id: str
    query_set_name: str
    corpus_id: str
    corpus_name: str
    model_id: str | None
    """None where only methods that look at no model have runs."""
    model_name: str | None
    runs: dict[str, RunSummary]
    """The current run of each method, by slug."""

    def rank_request(self, method: str, prompt: str, completion: str | None, task: str | None, k: int) -> JobRequest:
        """What to ask of a method that has a run here.

        Where the completion is the model's to give, a method that looks at no model needs it too.
        """
        run = self.runs[method]
        model_id = run.model_id or (self.model_id if completion is None else None)
        return rank_request(run.id, model_id, prompt, completion, task, k)


def find_subject(session: Session, query_set_id: str | None) -> Subject | None:
    """What is asked about: the named query set, or the newest; None where there is none."""
    return next((subject for subject in subjects(session) if query_set_id in (None, subject.query_set_id)), None)


def subjects(session: Session) -> list[Subject]:
    """Everything that may be asked about, the newest first.

    Query sets made of a model's answers are left out (the set that was answered stands for them), and imported ones:
    of their corpus only the listed passages are known.
    """
    own = {
        row.id
        for row in session.scalars(select(QuerySet).where(QuerySet.model_id.is_(None), QuerySet.asked_of.is_(None)))
        if IMPORTED not in row.manifest.get("config", {})
    }
    by_set: dict[str, list[RunSummary]] = {}
    for run in current_runs(session):
        if run.query_set_id in own:
            by_set.setdefault(run.query_set_id, []).append(run)
    return [_subject(runs) for runs in by_set.values()]


def _subject(runs: list[RunSummary]) -> Subject:
    newest = next((run for run in runs if run.model_id is not None), runs[0])
    return Subject(
        query_set_id=newest.query_set_id,
        query_set_name=newest.query_set_name,
        corpus_id=newest.corpus_id,
        corpus_name=newest.corpus_name,
        model_id=newest.model_id,
        model_name=newest.model_name,
        runs={run.method: run for run in runs if run.model_id in (None, newest.model_id)},
    )


def answering_set(session: Session, run_id: str) -> str | None:
    """The query set of a run; None if there is no such run."""
    found = runs_by_id(session, [run_id]).get(run_id)
    return None if found is None else found.query_set_id
