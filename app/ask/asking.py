"""From what a reader typed to a job in the queue, the same for the page and the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from app.http.database import Catalogue
from app.http.errors import FieldError, Problem
from app.http.identity import sign_in_needed
from app.http.viewers import viewer_of
from backend.core.artifacts import Home
from backend.core.records import TASKS
from backend.jobs import checking
from backend.jobs.client import Asked, IdempotencyConflict, QueueFull, ask, has_asked
from backend.jobs.records import JobRequest, complete_request
from backend.jobs.subjects import Subject
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
        return [
            self.subject.rank_request(method, self.prompt, self.completion, self.task, self.k)
            for method in self.methods
        ]

    def completions(self, samples: int) -> list[JobRequest]:
        """One job that completes the prompt, for a reader to choose from."""
        return [complete_request(self.subject.model_id or "", self.prompt, samples)]


def complaints(
    settings: Settings,
    subject: Subject,
    prompt: str,
    completion: str | None,
    methods: Sequence[str],
    task: str | None,
) -> list[FieldError]:
    """Everything that is wrong with a question, by field."""
    found = checking.complaints(Home(settings.home.absolute()), subject.model_id, prompt, completion)
    errors = [FieldError(complaint.field, complaint.message) for complaint in found]
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


def may_ask(request: Request) -> bool:
    """Whether who looks at a page may ask questions of their own."""
    settings: Settings = request.app.state.settings
    return settings.asking == "anyone" or (settings.asking == "signed-in" and viewer_of(request.scope).signed_in)


def require_asking(request: Request) -> None:
    """Raise a Problem where who asks may not: 403, or where signing in would help what leads there."""
    settings: Settings = request.app.state.settings
    if settings.asking == "nobody":
        raise Problem(403, "Asking is switched off", "This installation shows stored prompts only.", link=("/", "Home"))
    if not may_ask(request):
        raise sign_in_needed(request)
