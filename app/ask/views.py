"""The form in which readers ask: what can be asked about, what was typed, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.ask.forms import MODEL, OWN, Typed
from app.http.errors import FieldError
from app.http.forms import readable
from app.methods_text import method_order, method_text
from app.prompts.parameters import DEFAULT_METHODS
from app.tasks_text import task_text
from backend.core.artifacts import Home
from backend.core.records import TASKS, TASKS_WITH_FACT_CURVATURE
from backend.jobs.checking import MOST_CHARACTERS, count_tokens
from backend.jobs.queue import live_workers
from backend.jobs.records import MOST_K, MOST_SAMPLES
from backend.jobs.subjects import Subject, subjects
from backend.settings import Settings

LABELS = {
    "prompt": "prompt",
    "completion": "completion",
    "by": "choice of who completes the prompt",
    "samples": "number of samples",
    "method": "choice of methods",
    "task": "task",
    "k": "number of passages",
    "query_set": "model and corpus",
    "other": "completion",
}
"""Field -> what its label calls it."""

ABOUT_THE_FIELD = ("is ", "has ", "holds ", "must ")
"""How complaints begin that go on from the field's name."""


@dataclass(frozen=True, slots=True)
class MethodChoice:
    """A method that can be asked."""

    slug: str
    title: str
    line: str
    chosen: bool
    only: str | None
    """The one thing it can be asked about, where there are several and it has no run for the others."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An entry of a select."""

    value: str
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """How many tokens a question has, of those that its model takes."""

    count: int
    limit: int
    over: bool
    alone: bool
    """Only the prompt counts yet: the model is to complete it."""


@dataclass(frozen=True, slots=True)
class AskPage:
    """Everything that the form shows."""

    may_ask: bool
    would_if_signed_in: bool
    has_worker: bool
    typed: Typed
    errors: dict[str, str]
    """Field -> a sentence, or several."""
    faults: list[tuple[str | None, str]]
    """The same in the order of the form: (field to go to, sentence)."""
    first_fault: str | None
    """The field that gets the focus."""
    subjects: list[Choice]
    methods: list[MethodChoice]
    model_name: str | None
    """The model that could complete the prompt; None where there is none."""
    corpus_name: str
    tasks: list[Choice]
    tokens: Tokens | None
    most_samples: int = MOST_SAMPLES
    most_k: int = MOST_K

    @property
    def by_model(self) -> bool:
        """Whether the model is to complete the prompt."""
        return self.typed.by == MODEL and self.model_name is not None


def build_form(
    session: Session,
    settings: Settings,
    typed: Typed,
    errors: Sequence[FieldError] = (),
    *,
    may_ask: bool,
    fresh: bool = False,
) -> AskPage:
    """The form with what was typed; ``fresh`` chooses a method where none was."""
    found = subjects(session)
    subject = next((s for s in found if s.query_set_id == typed.query_set), found[0] if found else None)
    if fresh and subject is not None and not any(method in subject.runs for method in typed.methods):
        typed = replace(typed, methods=_usual_method(subject))
    sentences = [(error.field, sentence(error)) for error in errors]
    named: dict[str, str] = {}
    for field, text in sentences:
        field = "completion" if field == "other" else field
        named[field] = f"{named[field]} {text}" if field in named else text
    focusable = ("prompt", "completion", "samples", "method", "task", "k")
    in_order = sorted(named.items(), key=lambda item: list(LABELS).index(item[0]))
    return AskPage(
        may_ask=may_ask,
        would_if_signed_in=settings.asking == "signed-in" and not may_ask,
        has_worker=bool(live_workers(session)),
        typed=_readable(typed),
        errors=named,
        faults=[(field if field in focusable else None, text) for field, text in in_order],
        first_fault=next((field for field, _ in in_order if field in focusable), None),
        subjects=[Choice(s.query_set_id, _subject_label(s), s is subject) for s in found],
        methods=_methods(found, typed.methods),
        model_name=None if subject is None else subject.model_name,
        corpus_name="" if subject is None else subject.corpus_name,
        tasks=_tasks(typed.task),
        tokens=None if subject is None else tokens_of(settings, subject, typed),
    )


def tokens_of(settings: Settings, subject: Subject, typed: Typed) -> Tokens | None:
    """Tokens of what was typed; None where they cannot be counted here."""
    prompt, completion = (
        readable(typed.prompt),
        None if typed.own_completion is None else readable(typed.own_completion),
    )
    if subject.model_id is None or len(prompt) + len(completion or "") > 2 * MOST_CHARACTERS:
        return None
    counted = count_tokens(Home(settings.home.absolute()), subject.model_id, prompt, completion)
    if counted is None:
        return None
    room = counted.limit if completion is not None else counted.limit - 1
    return Tokens(counted.tokens, counted.limit, counted.tokens > room, completion is None)


def sentence(error: FieldError) -> str:
    """A complaint as a sentence beside its field."""
    text = error.message
    if text.startswith(ABOUT_THE_FIELD):
        text = f"The {LABELS.get(error.field, error.field)} {text}"
    text = readable(text[:1].upper() + text[1:])
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _readable(typed: Typed) -> Typed:
    """What was typed into fields of text, fit for a page."""
    return replace(
        typed,
        prompt=readable(typed.prompt),
        completion=readable(typed.completion),
        samples=readable(typed.samples),
        k=readable(typed.k),
    )


def _usual_method(subject: Subject) -> tuple[str, ...]:
    usual = [method for method in DEFAULT_METHODS if method in subject.runs] or sorted(subject.runs, key=method_order)
    return tuple(usual[:1])


def _subject_label(subject: Subject) -> str:
    return f"{subject.model_name or 'no model'} over {subject.corpus_name} ({subject.query_set_name})"


def _methods(found: Sequence[Subject], chosen: Sequence[str]) -> list[MethodChoice]:
    every = sorted({method for subject in found for method in subject.runs}, key=method_order)
    choices = []
    for method in every:
        having = [subject for subject in found if method in subject.runs]
        only = _subject_label(having[0]) if len(having) == 1 < len(found) else None
        text = method_text(method)
        choices.append(MethodChoice(method, text.title, text.line, method in chosen, only))
    return choices


def _tasks(chosen: str) -> list[Choice]:
    every = [Choice(slug, task_text(slug).title, slug == chosen) for slug in TASKS]
    return [Choice("", "none: R over the corpus alone", chosen not in TASKS), *every]


MIXING_TASKS = [task_text(slug).title for slug in TASKS if slug in TASKS_WITH_FACT_CURVATURE]
"""Titles of the tasks that change R."""

__all__ = ["MIXING_TASKS", "MODEL", "OWN", "AskPage", "Tokens", "build_form", "sentence", "tokens_of"]
