"""What forms send, as it was typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from app.http.errors import FieldError, Problem

MOST_FIELDS = 200
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a form in the order in which they were sent."""

    pairs: Sequence[tuple[str, str]]

    def one(self, name: str, usual: str = "") -> str:
        """The last value of a field."""
        return next((value for given, value in reversed(self.pairs) if given == name), usual)

    def every(self, name: str) -> tuple[str, ...]:
        """All values of a field, each once, without empty ones."""
        return tuple(dict.fromkeys(value for given, value in self.pairs if given == name and value))

    def repeated(self, names: Sequence[str]) -> list[FieldError]:
        """Complaints about fields that came more than once and must not."""
        given = [name for name, _ in self.pairs]
        return [FieldError(name, "is given more than once") for name in names if given.count(name) > 1]


async def read_form(request: Request) -> Fields:
    """Dependency: the posted form. Bytes that are no UTF-8 come as lone surrogates, for the checks to find.

    Browsers send the ends of lines as CR LF, whatever was typed; they become LF again.
    """
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != FORM:
        raise Problem(415, "Not a form", f"This address takes what a form sends ({FORM}).")
    try:
        pairs = parse_qsl(
            body.decode("utf-8", "surrogateescape"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as error:
        raise Problem(400, "Not a form", f"A form has at most {MOST_FIELDS} fields.") from error
    return Fields([(name, value.replace("\r\n", "\n")) for name, value in pairs])


Form = Annotated[Fields, Depends(read_form)]


def readable(text: str) -> str:
    """A text fit for a page: what no page can hold is replaced."""
    return "".join("\N{REPLACEMENT CHARACTER}" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def number(text: str) -> int:
    """A whole number that a form carries; 0 for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
