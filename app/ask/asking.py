"""From what a reader typed to a job in the queue, the same for the page and the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.http.database import Catalogue
from app.http.errors import FieldError, Problem
from backend.core.artifacts import Home
from backend.core.records import TASKS
from backend.jobs.checking import text_complaints, token_complaints
from backend.jobs.client import Asked, IdempotencyConflict, QueueFull, ask, has_asked
from backend.jobs.records import JobRequest, complete_request, rank_request
from backend.jobs.subjects import Subject, subjects
from backend.settings import Settings

BUSY_SECONDS = 60
"""After how long to ask again where the queue is full."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a reader wants to know, checked."""

    subject: Subject
    prompt: str
    completion: str | None
    """None: the model's own."""
    methods: tuple[str, ...]
    task: str | None
    k: int

    @property
    def requests(self) -> list[JobRequest]:
        """One ranking for each method."""
        runs = [self.subject.runs[method] for method in self.methods]
        # Where the completion is the model's to give, a method that looks at no model needs it too.
        return [
            rank_request(
                run.id,
                run.model_id or (self.subject.model_id if self.completion is None else None),
                self.prompt,
                self.completion,
                self.task,
                self.k,
            )
            for run in runs
        ]

    def completions(self, samples: int) -> list[JobRequest]:
        """One job that completes the prompt, for a reader to choose from."""
        return [complete_request(self.subject.model_id or "", self.prompt, samples)]


def find_subject(session: Session, query_set_id: str | None) -> Subject | None:
    """What is asked about: the named query set, or the newest; None where there is none."""
    found = subjects(session)
    if query_set_id is None:
        return found[0] if found else None
    return next((subject for subject in found if subject.query_set_id == query_set_id), None)


def complaints(
    settings: Settings,
    subject: Subject,
    prompt: str,
    completion: str | None,
    methods: Sequence[str],
    task: str | None,
) -> list[FieldError]:
    """Everything that is wrong with a question, by field."""
    errors = [FieldError(found.field, found.message) for found in text_complaints(prompt, completion)]
    if not errors and subject.model_id is not None:
        found = token_complaints(Home(settings.home.absolute()), subject.model_id, prompt, completion)
        errors += [FieldError(complaint.field, complaint.message) for complaint in found]
    if completion is None and subject.model_id is None:
        errors.append(FieldError("completion", "is needed: there is no model here that could complete the prompt"))
    if not methods:
        errors.append(FieldError("method", "choose at least one method"))
    known = ", ".join(subject.runs)
    errors += [
        FieldError("method", f"“{method}” has no run here; there are {known}")
        for method in methods
        if method not in subject.runs
    ]
    if task is not None and task not in TASKS:
        errors.append(FieldError("task", f"“{task}” is no task; known are {', '.join(TASKS)}"))
    return errors


def submit(
    catalogue: Catalogue,
    settings: Settings,
    requests: Sequence[JobRequest],
    parameters: Mapping[str, Any],
    *,
    reader: str | None,
    address: str,
    idempotency_key: str | None = None,
) -> Asked:
    """Ask; raises a Problem where the queue is full (503) or an idempotency key came with another question (422).

    The queue counts a question for its reader if they have asked before, else for their address: whoever throws their
    cookie away gains no turn by it.
    """
    try:
        with catalogue.write(shown=False) as session:
            known = reader is not None and has_asked(session, reader)
            turn_of = f"reader:{reader}" if known else address
            return ask(
                session,
                requests,
                parameters,
                reader=reader,
                turn_of=turn_of,
                idempotency_key=idempotency_key,
                most_queued=settings.queued_questions,
            )
    except QueueFull as full:
        raise Problem(503, "Too many questions", str(full), headers={"Retry-After": str(BUSY_SECONDS)}) from full
    except IdempotencyConflict as conflict:
        errors = (FieldError("Idempotency-Key", conflict.message),)
        raise Problem(422, "Not the same question", str(conflict), errors) from conflict


def require_asking(settings: Settings) -> None:
    """Raise a Problem of status 403 where nobody may ask."""
    if settings.asking == "nobody":
        raise Problem(403, "Asking is switched off", "This installation shows stored prompts only.", link=("/", "Home"))
