"""Tail-patch on the page of an asked prompt: the offer to measure a list, and what was measured beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.http.formats import passage_address
from app.http.words import score
from app.prompts.rankings import Rankings
from backend.catalogue.runs import RunSummary
from backend.jobs.client import JobView, find_jobs
from backend.jobs.records import PATCHED, tail_patch_request
from backend.jobs.subjects import subjects

OPTIMIZERS = {"adafactor": "Adafactor", "normalised-sgd": "normalised SGD"}
STATES = {"saved": "continuing from the training’s saved state", "none": "without a state of the training"}


@dataclass(frozen=True, slots=True)
class Change:
    """What one training step did to the completion's probability."""

    label: str
    url: str | None
    """The passage it was taken on; None for a mean."""
    points: float
    """In percentage points."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """Tail-patch of one list."""

    run_id: str
    runs: str
    """The lists that are shown, as an address pins them: the way back."""
    may_ask: bool
    k: int
    changes: list[Change]
    """Empty until it is measured. Whether that is under way is not said: kept pages do not follow the queue, and to
    ask again leads to the same job."""
    before: float | None
    """Probability of the completion before the step."""
    step: str


def measuring_models(session: Session, loaded: Rankings) -> dict[str, str]:
    """Run id -> the model to take a step with: the run's own, or for a method that looks at none the subject's."""
    models = {run.id: run.model_id for run in loaded.runs}
    if None in models.values():
        subject = next((s for s in subjects(session) if s.query_set_id == loaded.query_set_id), None)
        usual = None if subject is None else subject.model_id
        models = {run_id: model_id or usual for run_id, model_id in models.items()}
    return {run_id: model_id for run_id, model_id in models.items() if model_id is not None}


def measurings(
    session: Session, loaded: Rankings, shown: Sequence[RunSummary], corpus_id: str | None, *, may_ask: bool
) -> dict[str, Measuring]:
    """Run id -> tail-patch of its list, for the shown lists of an asked prompt that can be measured.

    ``corpus_id`` is for links to passages; None where their ids are unambiguous.
    """
    if not loaded.prompt.asked:
        return {}
    slug = loaded.prompt.slug
    models = measuring_models(session, loaded)
    keys = {run.id: tail_patch_request(run.id, models[run.id], slug).key for run in shown if run.id in models}
    jobs = {job.id: job for job in find_jobs(session, list(keys.values()))}
    runs = "+".join(run.id for run in shown)
    return {run_id: _measuring(run_id, runs, jobs.get(key), corpus_id, may_ask) for run_id, key in keys.items()}


def _measuring(run_id: str, runs: str, job: JobView | None, corpus_id: str | None, may_ask: bool) -> Measuring:
    result = (job.result or {}) if job is not None and job.state == "done" else {}
    return Measuring(
        run_id=run_id,
        runs=runs,
        may_ask=may_ask,
        k=PATCHED,
        changes=_changes(result, corpus_id),
        before=result.get("base_probability"),
        step=_step(result.get("step") or {}),
    )


def _changes(result: dict[str, Any], corpus_id: str | None) -> list[Change]:
    if "mean" not in result:
        return []
    beside = (("random", "A random passage"), ("bm25", "BM25’s first passage"))
    return [
        Change(f"Mean of this list’s first {result['measured']}", None, result["mean"]),
        *(
            Change(label, passage_address(result[name]["passage_id"], corpus_id), result[name]["tail_patch"])
            for name, label in beside
            if result.get(name)
        ),
    ]


def _step(facts: dict[str, Any]) -> str:
    """How the step was taken, as the end of a sentence."""
    if not facts:
        return ""
    optimizer = OPTIMIZERS.get(facts["optimizer"], facts["optimizer"])
    return f"{optimizer}, learning rate {score(facts['learning_rate'])}, {STATES.get(facts['state'], facts['state'])}"
