"""A passage's text cut into marked and unmarked pieces; templates escape each piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backend.catalogue.models import Prompt
from backend.core.text import join_query, name_spans

EXCERPT = 640
"""Characters of a long passage that a card shows."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text; kind is subject, object, completion or None."""

    text: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The shown part of a passage, and whether something is left out before or behind it."""

    segments: list[Segment]
    cut_before: bool
    cut_behind: bool


Names = Sequence[tuple[str, Sequence[str]]]
"""(kind, names) pairs; where two overlap the longer one, then the earlier kind, is marked."""


def prompt_pieces(prompt: str, completion: str) -> tuple[str, str, str]:
    """Prompt, joining white space and completion, as the model reads them."""
    text, boundary = join_query(prompt, completion)
    answer = text[boundary:]
    stripped = answer.lstrip()
    return text[:boundary], answer[: len(answer) - len(stripped)], stripped


def names_of(prompt: Prompt) -> Names:
    """What to mark in passages for a prompt: its subject, its object, and else its completion."""
    aliases = prompt.aliases or {}
    subject = [name for name in (prompt.subject, *aliases.get("subject", [])) if name]
    wanted = [name for name in (prompt.object, *aliases.get("object", [])) if name]
    completion = prompt.completion.strip().strip(".,;:!?\"'“”").strip()
    spoken = [completion] if len(completion) > 1 or completion.isdigit() else []
    return [("subject", subject), ("object", wanted), ("completion", spoken)]


def find_marks(text: str, names: Names) -> list[tuple[int, int, str]]:
    """(start, end, kind) of all names in a text, in order, none overlapping."""
    found = [
        (start, end, kind, place)
        for place, (kind, known) in enumerate(names)
        for name in known
        for start, end in name_spans(name, text)
    ]
    marks: list[tuple[int, int, str]] = []
    last = 0
    for start, end, kind, _ in sorted(found, key=lambda mark: (mark[0], -mark[1], mark[3])):
        if start >= last:
            marks.append((start, end, kind))
            last = end
    return marks


def excerpt(text: str, names: Names, limit: int = EXCERPT) -> Excerpt:
    """The whole text if it is short; else about ``limit`` characters that hold the first mark."""
    marks = find_marks(text, names)
    start, end = 0, len(text)
    if len(text) > limit * 1.25:
        first = marks[0][0] if marks else 0
        if first > limit * 0.7:
            start = _word_start(text, first - limit // 3)
        end = _word_start(text, min(start + limit, len(text)))
        end = max([end, *(stop for begin, stop, _ in marks if begin < end or begin == first)])
    return Excerpt(_pieces(text, marks, start, end), start > 0, end < len(text))


def _pieces(text: str, marks: list[tuple[int, int, str]], start: int, end: int) -> list[Segment]:
    pieces = []
    place = start
    for begin, stop, kind in marks:
        if begin < start or stop > end:
            continue
        if begin > place:
            pieces.append(Segment(text[place:begin]))
        pieces.append(Segment(text[begin:stop], kind))
        place = stop
    if place < end:
        pieces.append(Segment(text[place:end]))
    return pieces


def _word_start(text: str, place: int) -> int:
    """The start of the word at a place, unless that is far away."""
    space = text.rfind(" ", max(0, place - 40), place)
    return space + 1 if space >= 0 and place < len(text) else place
