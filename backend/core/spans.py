"""Quoted words of a passage, kept so that they are found again in a text that has changed around them.

A quote with the text before and behind it and its place, as in the W3C's Web Annotation Data Model (text quote and text
position selectors, sections 4.2.4 and 4.2.5). Places count characters (Unicode code points), from 0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

CONTEXT = 32
"""Characters that are kept before and behind a quote."""

LONGEST_QUOTE = 5_000


@dataclass(frozen=True, slots=True)
class Span:
    """Some words of a text: ``text[start:end] == quote``, after ``prefix`` and before ``suffix``."""

    quote: str
    prefix: str
    suffix: str
    start: int
    end: int

    def as_json(self) -> dict[str, Any]:
        """The form in which it is stored and exported."""
        return asdict(self)


def span_at(text: str, start: int, end: int) -> Span:
    """The span of ``text[start:end]``."""
    return Span(text[start:end], text[max(0, start - CONTEXT) : start], text[end : end + CONTEXT], start, end)


def find_span(text: str, quote: str, prefix: str = "", suffix: str = "", start: int | None = None) -> Span | None:
    """Where a text holds a quote; None where it does not.

    Among several places the one whose surroundings share most with ``prefix`` and ``suffix`` is taken, then the one
    nearest to ``start``, then the first.
    """
    if not quote:
        return None
    best: tuple[int, int, int] | None = None
    place = text.find(quote)
    while place >= 0:
        before, behind = text[:place][-CONTEXT:], text[place + len(quote) :][:CONTEXT]
        shared = _shared_end(before, prefix) + _shared_start(behind, suffix)
        distance = 0 if start is None else abs(place - start)
        if best is None or (-shared, distance) < best[:2]:
            best = (-shared, distance, place)
        place = text.find(quote, place + 1)
    return None if best is None else span_at(text, best[2], best[2] + len(quote))


def find_again(text: str, stored: dict[str, Any]) -> Span | None:
    """A stored span in a text that may have changed; None where its quote is gone."""
    return find_span(text, stored["quote"], stored["prefix"], stored["suffix"], stored["start"])


def _shared_start(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _shared_end(one: str, other: str) -> int:
    return _shared_start(one[::-1], other[::-1])
