"""What kind of passage a proponent of a fact is, by rules over strings alone. Never imports torch.

A passage has the first of ``KINDS`` whose rule it meets:

1. ``states the fact``: it is one of the query's entailing passages.
2. ``relation prior``: it states the query's relation about another subject. Either it entails another query of that
   relation, or it holds the wording of one of the relation's prompts with another subject in it ("The capital of Peru
   is"): the second finds statements that are false, or of facts that no query asks for.
3. ``subject entity``: it names the subject or an alias of it, as whole words in any case.
4. ``object entity``: it names the object or an alias of it.
5. ``template``: it holds what the prompt has in common with prompts of other relations, the rest being free ("the ...
   of ... is"). Not for a prompt that shares fewer than two words with them.
6. ``other``: none of these.

What a query does not give (relation, subject, object) is a rule that no passage meets.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from backend.core.records import Passage, Query
from backend.core.text import holds_any, name_spans, words
from backend.corpora.entailment import object_names, subject_names

KINDS = ("states the fact", "relation prior", "subject entity", "object entity", "template", "other")
"""In order of precedence."""

LONGEST_GAP = 6
"""Words that may stand where a prompt's wording leaves room."""

LEAST_WORDS = 2
"""Words that a wording must have: fewer would be met by almost any passage."""

_BETWEEN = r"[^\w.!?\n]+"
"""Between two words of one sentence."""

_GAP = rf"(\w+(?:{_BETWEEN}\w+){{0,{LONGEST_GAP - 1}}}?)"
_ARTICLES = ("the", "a", "an")

Pieces = tuple[str | None, ...]
"""A wording: its words in lower case, None where something else may stand."""


class ProponentKinds:
    """The rules for the queries of one set."""

    def __init__(self, queries: Sequence[Query]) -> None:
        """``queries`` are all of the set: the others say which passages state the same relation."""
        self._subjects: dict[tuple[str, str], set[str]] = defaultdict(set)
        wordings: dict[str, dict[Pieces, None]] = defaultdict(dict)
        for query in queries:
            if query.relation is None or query.subject is None or query.task != "facts":
                continue
            for passage_id in query.entails or ():
                self._subjects[query.relation, passage_id].add(query.subject.casefold())
            if (wording := _wording(query)) is not None:
                wordings[query.relation][wording] = None
        self._wordings = {relation: [_pattern(found) for found in all_] for relation, all_ in wordings.items()}
        self._frames = {
            relation: [_pattern(frame) for frame in _frames(relation, wordings)] for relation in self._wordings
        }
        self._spoken_of: dict[tuple[str, str], list[str]] = {}
        self._framed: dict[tuple[str, str], bool] = {}

    def kind(self, query: Query, passage: Passage) -> str:
        """The passage's kind for one of the queries."""
        if query.entails is not None and passage.id in query.entails:
            return "states the fact"
        if self._states_relation(query, passage):
            return "relation prior"
        if holds_any(subject_names(query), passage.text):
            return "subject entity"
        if holds_any(object_names(query), passage.text):
            return "object entity"
        return "template" if self._has_frame(query, passage) else "other"

    def _states_relation(self, query: Query, passage: Passage) -> bool:
        if query.relation is None:
            return False
        own = subject_names(query)
        stated = self._subjects.get((query.relation, passage.id), set())
        if stated - {name.casefold() for name in own}:
            return True
        key = query.relation, passage.id
        if key not in self._spoken_of:
            patterns = self._wordings.get(query.relation, [])
            self._spoken_of[key] = [found.group(1) for pattern in patterns for found in pattern.finditer(passage.text)]
        return any(not holds_any(own, subject) for subject in self._spoken_of[key])

    def _has_frame(self, query: Query, passage: Passage) -> bool:
        if query.relation is None:
            return False
        key = query.relation, passage.id
        if key not in self._framed:
            frames = self._frames.get(query.relation, [])
            self._framed[key] = any(frame.search(passage.text) is not None for frame in frames)
        return self._framed[key]


def _wording(query: Query) -> Pieces | None:
    """A prompt's words with the subject left out; None where it does not name the subject, or little else."""
    spans = name_spans(query.subject or "", query.prompt)
    if not spans:
        return None
    start, end = spans[0]
    before, after = words(query.prompt[:start]), words(query.prompt[end:])
    if before and before[-1] in _ARTICLES:
        before.pop()
    return (*before, None, *after) if len(before) + len(after) >= LEAST_WORDS else None


def _frames(relation: str, wordings: dict[str, dict[Pieces, None]]) -> list[Pieces]:
    """What a relation's prompts have in common with other relations', word for word, without free ends."""
    elsewhere = {
        word for other, all_ in wordings.items() if other != relation for wording in all_ for word in wording if word
    }
    frames: dict[Pieces, None] = {}
    for wording in wordings[relation]:
        frame: list[str | None] = []
        for word in wording:
            kept = word if word in elsewhere else None
            if kept is not None or (frame and frame[-1] is not None):
                frame.append(kept)
        if frame and frame[-1] is None:
            frame.pop()
        if sum(word is not None for word in frame) >= LEAST_WORDS:
            frames[tuple(frame)] = None
    return list(frames)


def _pattern(pieces: Pieces) -> re.Pattern[str]:
    """Finds a wording in a text, within a sentence; the first group is what stands in its first gap."""
    parts = [_GAP if piece is None else re.escape(piece) for piece in pieces]
    return re.compile(rf"(?<!\w){_BETWEEN.join(parts)}(?!\w)", re.IGNORECASE)
