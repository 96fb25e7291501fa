"""Which passages hold both names of a fact: the frequency of a fact in a user's own corpus.

The rule is that of the paper's T-REx evaluation at its simplest: a passage that holds the subject and the
object (or an alias of either) as whole words, any case, is taken to state the fact.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace

from backend.core.metrics import frequency_bucket
from backend.core.records import Passage, Query
from backend.core.text import holds_any

_WORD = re.compile(r"\w+")
_DOTTED_AND_DOTLESS_I = {0x130: "i", 0x131: "i"}
"""`re.IGNORECASE` takes both for the letter i; `casefold` does not."""

Names = Sequence[str]


class NameIndex:
    """Finds the passages that hold a name; only the words of the names it was made for are indexed."""

    def __init__(self, names: Iterable[str], texts: Sequence[str]) -> None:
        self._texts = texts
        self._postings: dict[str, array[int]] = {word: array("I") for name in names for word in _folded_words(name)}
        for position, text in enumerate(texts):
            for word in _folded_words(text):
                postings = self._postings.get(word)
                if postings is not None:
                    postings.append(position)

    def positions(self, names: Names) -> set[int]:
        """Positions of the texts that may hold one of the names: all that do and some that do not."""
        found: set[int] = set()
        for name in names:
            found |= self._candidates(name)
        return found

    def holding(self, *groups: Names) -> list[int]:
        """Positions, in order, of the texts that hold a name of every group as whole words, any case."""
        sets = sorted((self.positions(group) for group in groups), key=len)
        candidates = set.intersection(*sets) if sets else set()
        return [
            position
            for position in sorted(candidates)
            if all(holds_any(group, self._texts[position]) for group in groups)
        ]

    def _candidates(self, name: str) -> set[int]:
        if not name.strip():
            return set()
        postings = [self._postings[word] for word in _folded_words(name)]
        if not postings:  # a name of signs alone, such as "+"
            return set(range(len(self._texts)))
        postings.sort(key=len)
        found = set(postings[0])
        for other in postings[1:]:
            if not found:
                break
            found.intersection_update(other)
        return found


def subject_names(query: Query) -> tuple[str, ...]:
    """The subject and its aliases; empty without a subject."""
    return (query.subject, *query.aliases.subject) if query.subject else ()


def object_names(query: Query) -> tuple[str, ...]:
    """The object and its aliases; empty without an object."""
    return (query.object, *query.aliases.object) if query.object else ()


def co_mentions(queries: Sequence[Query], passages: Sequence[Passage]) -> list[tuple[str, ...]]:
    """For each query the ids of the passages that hold its subject and its object (or aliases), in corpus
    order.

    Empty for a query without both. Costs one pass over the corpus, then a look-up a query.
    """
    names = [name for query in queries for name in (*subject_names(query), *object_names(query))]
    index = NameIndex(names, [passage.text for passage in passages])
    return [
        tuple(passages[position].id for position in index.holding(subject_names(query), object_names(query)))
        if query.subject and query.object
        else ()
        for query in queries
    ]


def with_entailment(queries: Sequence[Query], passages: Sequence[Passage]) -> list[Query]:
    """The queries, ``entails`` filled in by string match where it is missing and there is a subject and an
    object."""
    positions = [
        position for position, query in enumerate(queries) if query.entails is None and query.subject and query.object
    ]
    filled = list(queries)
    found = co_mentions([queries[position] for position in positions], passages)
    for position, entails in zip(positions, found, strict=True):
        filled[position] = replace(queries[position], entails=entails)
    return filled


def bucket_of(query: Query) -> str | None:
    """The query's frequency bucket; None where "states the fact" has no meaning."""
    return frequency_bucket(query.frequency)


def _folded_words(text: str) -> set[str]:
    return {word.translate(_DOTTED_AND_DOTLESS_I).casefold() for word in _WORD.findall(text)}
