"""A passage's text cut into marked and unmarked pieces; templates escape each piece."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from backend.catalogue.models import Prompt
from backend.core.text import WORD, join_query, name_spans, words

EXCERPT = 520
"""Characters of a long passage that a card shows."""

NGRAM = 3
"""Words in a row that a passage must share with a query to be said to share wording with it."""


class Segment(NamedTuple):
    """A piece of text; kind is subject, object, completion or None; shared: of words in a row that the query has."""

    text: str
    kind: str | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The shown part of a passage, and whether something is left out before or behind it."""

    segments: list[Segment]
    cut_before: bool
    cut_behind: bool
    shared_words: int
    """Length of the longest run of words that the whole passage shares with the query; 0: no shared n-gram."""


Names = Sequence[tuple[str, Sequence[str]]]
"""(kind, names) pairs; where two overlap the longer one, then the earlier kind, is marked."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Wording:
    """The n-grams of a query, to find where passages share its wording."""

    n: int
    ngrams: frozenset[tuple[str, ...]]

    @classmethod
    def of(cls, text: str) -> Wording:
        """Of a query's text; a query of fewer words than NGRAM counts as a whole."""
        tokens = words(text)
        n = min(NGRAM, len(tokens))
        return cls(n, frozenset(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)) if n else frozenset())

    def shared_with(self, text: str) -> tuple[list[Span], int]:
        """Spans of the text that consist of shared n-grams, and the words of the longest."""
        if not self.n:
            return [], 0
        found = list(WORD.finditer(text))
        tokens = [match.group().lower() for match in found]
        spans: list[Span] = []
        longest = length = 0
        last = -1  # the last word of the run that is open
        for first in range(len(tokens) - self.n + 1):
            if tuple(tokens[first : first + self.n]) not in self.ngrams:
                continue
            behind = first + self.n - 1
            if first <= last:
                length += behind - last
                spans[-1] = (spans[-1][0], found[behind].end())
            else:
                length = self.n
                spans.append((found[first].start(), found[behind].end()))
            last = behind
            longest = max(longest, length)
        return spans, longest


NO_WORDING = Wording(0, frozenset())


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


def excerpt(text: str, names: Names, wording: Wording = NO_WORDING, limit: int = EXCERPT) -> Excerpt:
    """The whole text if it is short; else about ``limit`` characters that hold the first mark or shared words."""
    marks = find_marks(text, names)
    shared, longest = wording.shared_with(text)
    start, end = 0, len(text)
    if len(text) > limit * 1.25:
        first = marks[0][0] if marks else shared[0][0] if shared else 0
        if first > limit * 0.7:
            start = _word_start(text, first - limit // 3)
        end = _word_start(text, min(start + limit, len(text)))
        end = max([end, *(stop for begin, stop, _ in marks if begin < end or begin == first)])
    return Excerpt(_pieces(text, marks, shared, start, end), start > 0, end < len(text), longest)


def _pieces(text: str, marks: list[tuple[int, int, str]], shared: list[Span], start: int, end: int) -> list[Segment]:
    inside = [mark for mark in marks if mark[0] >= start and mark[1] <= end]
    places = {start, end}
    for begin, stop in (*(mark[:2] for mark in inside), *shared):
        places |= {min(max(begin, start), end), min(max(stop, start), end)}
    kinds = {begin: kind for begin, _, kind in inside}
    ends = {stop for _, stop, _ in inside}
    starts = [begin for begin, _ in shared]
    pieces = []
    kind = None
    for place, following in pairwise(sorted(places)):
        if place in ends:
            kind = None
        kind = kinds.get(place, kind)
        run = bisect_left(starts, place + 1) - 1
        pieces.append(Segment(text[place:following], kind, run >= 0 and place < shared[run][1]))
    return pieces


def _word_start(text: str, place: int) -> int:
    """The start of the word at a place, unless that is far away."""
    space = text.rfind(" ", max(0, place - 40), place)
    return space + 1 if space >= 0 and place < len(text) else place
