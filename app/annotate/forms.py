"""The form with which a passage is judged: what was typed, what is wrong with it, what it says."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.http.errors import FieldError, Problem
from app.http.forms import Fields, number, readable
from backend.annotations.writing import LONGEST_NOTE, Judgement, OutdatedAnnotation
from backend.catalogue.annotation_models import Annotation
from backend.core.labels import Label
from backend.core.spans import CONTEXT, LONGEST_QUOTE, find_span


class Faulty(Exception):
    """What a form says cannot be saved: field -> why."""

    def __init__(self, faults: dict[str, str]) -> None:
        super().__init__("; ".join(faults.values()))
        self.faults = faults


Refused = Faulty | OutdatedAnnotation
"""Why a form is shown again as it was typed."""


@dataclass(frozen=True, slots=True)
class Typed:
    """The form as it was typed."""

    label: str = ""
    quote: str = ""
    prefix: str = ""
    suffix: str = ""
    note: str = ""
    version: int = 0
    """The version of the annotation that the form was made from; 0 where there was none."""

    @classmethod
    def of(cls, annotation: Annotation | None) -> Typed:
        """The form filled in with an annotation; empty for none, or one that was taken back."""
        if annotation is None:
            return cls()
        if annotation.deleted_at is not None:
            return cls(version=annotation.version)
        span = annotation.span or {"quote": "", "prefix": "", "suffix": ""}
        return cls(
            annotation.label or "",
            span["quote"],
            span["prefix"],
            span["suffix"],
            annotation.note,
            annotation.version,
        )

    @classmethod
    def read(cls, form: Fields) -> Typed:
        """What a browser sent."""
        return cls(
            label=readable(form.one("label")),
            quote=readable(form.one("quote")).strip(),
            prefix=readable(form.one("prefix"))[-CONTEXT:],
            suffix=readable(form.one("suffix"))[:CONTEXT],
            note=readable(form.one("note")).strip(),
            version=number(form.one("version")),
        )

    def after(self, refused: Refused) -> Typed:
        """The form for another try: over the version that stands now, which its author is shown."""
        version = refused.standing.version if isinstance(refused, OutdatedAnnotation) else self.version
        return replace(self, version=version)

    def judged(self, text: str, *, needs_label: bool) -> Judgement:
        """What the form says of a passage's text; raises Faulty."""
        faults: dict[str, str] = {}
        label = Label(self.label) if self.label in tuple(Label) else None
        if self.label and label is None:
            faults["label"] = "There is no such label."
        elif needs_label and label is None:
            faults["label"] = "Choose a label, or put the passage aside."
        if len(self.note) > LONGEST_NOTE:
            faults["note"] = f"A note has at most {LONGEST_NOTE:,} characters; this one has {len(self.note):,}."
        span = find_span(text, self.quote, self.prefix, self.suffix)
        if len(self.quote) > LONGEST_QUOTE:
            faults["quote"] = f"A quote has at most {LONGEST_QUOTE:,} characters; this one has {len(self.quote):,}."
        elif self.quote and span is None:
            faults["quote"] = "The passage does not hold these words. Copy them from it as they stand there."
        judgement = Judgement(label, span, self.note)
        if not faults and judgement.is_empty:
            faults["label"] = "Choose a label, quote some words or write a note."
        if faults:
            raise Faulty(faults)
        return judgement


def refusal(refused: Refused) -> tuple[dict[str, str], Annotation | None, int]:
    """What a page shows of it: faults, what stands meanwhile, the status of the answer."""
    if isinstance(refused, OutdatedAnnotation):
        return {}, refused.standing, 409
    return refused.faults, None, 422


def problem_of(refused: Refused) -> Problem:
    """The same for a program."""
    if isinstance(refused, OutdatedAnnotation):
        version = refused.standing.version
        detail = (
            f"It has changed since: it is at version {version} now. Read it again, then change it. Nothing was saved."
        )
        return Problem(409, "Changed meanwhile", detail, (FieldError("version", f"is not {version}"),))
    errors = tuple(FieldError(name, reason) for name, reason in refused.faults.items())
    return Problem(422, "Not understood", "Nothing was saved.", errors)
