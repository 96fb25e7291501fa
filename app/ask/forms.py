"""What forms send, as it was typed: whatever is wrong with it is said field by field, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from app.ask.asking import Question, complaints
from app.http.errors import FieldError
from app.http.forms import Fields
from backend.jobs.records import MOST_K, MOST_SAMPLES, SAMPLES, K
from backend.jobs.subjects import Subject
from backend.settings import Settings

OWN, MODEL = "own", "model"
"""Who completes the prompt: the reader, or the model."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A question as a reader typed it."""

    prompt: str = ""
    completion: str = ""
    by: str = OWN
    samples: str = str(SAMPLES)
    methods: tuple[str, ...] = ()
    task: str = ""
    k: str = str(K)
    query_set: str = ""
    errors: tuple[FieldError, ...] = field(default=())
    """What is wrong with the form itself."""

    @property
    def own_completion(self) -> str | None:
        """The completion that the reader gives; None where the model is to give one."""
        return None if self.by == MODEL else self.completion


ONCE = ("prompt", "completion", "by", "samples", "task", "k", "query_set", "other")


def typed_question(form: Fields) -> Typed:
    """The question in a form; ``other``, where it is filled in, stands for a completion chosen from a list."""
    return Typed(
        prompt=form.one("prompt"),
        completion=form.one("other") or form.one("completion"),
        by=MODEL if form.one("by") == MODEL else OWN,
        samples=form.one("samples").strip() or str(SAMPLES),
        methods=form.every("method"),
        task=form.one("task"),
        k=form.one("k").strip() or str(K),
        query_set=form.one("query_set"),
        errors=tuple(form.repeated(ONCE)),
    )


def check(settings: Settings, subject: Subject | None, typed: Typed) -> tuple[Question | None, list[FieldError]]:
    """The question, or None and everything that is wrong with it, by field."""
    errors = list(typed.errors)
    if subject is None:
        return None, [*errors, FieldError("query_set", "is not among those that can be asked about")]
    errors += complaints(settings, subject, typed.prompt, typed.own_completion, typed.methods, typed.task or None)
    k = _number("k", typed.k, MOST_K, errors.append)
    if typed.by == MODEL:
        _number("samples", typed.samples, MOST_SAMPLES, errors.append)
    if errors or k is None:
        return None, errors
    question = Question(subject, typed.prompt, typed.own_completion, typed.methods, typed.task or None, k)
    return question, []


def _number(name: str, text: str, most: int, complain: Callable[[FieldError], None]) -> int | None:
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most:
        return int(text)
    complain(FieldError(name, f"must be a whole number from 1 to {most}"))
    return None
