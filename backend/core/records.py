"""The two records everything is about: a passage (one training example) and a query (prompt + completion)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

TASKS = (
    "facts",
    "wrong-predictions",
    "arithmetic",
    "word-problems",
    "commonsense",
    "open-generation",
    "controls",
)
"""Task slugs, in the order in which pages list them. A user's own queries use these too."""

TASKS_WITH_FACT_CURVATURE = frozenset({"facts", "wrong-predictions"})
"""Tasks for which TrackStar mixes R_eval, taken over the fact queries, into R (the paper does so for facts only)."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One training example."""

    id: str
    text: str
    source: str = ""
    title: str | None = None
    url: str | None = None
    license: str | None = None
    group: str | None = None
    """Id of the first passage of its near-duplicate group; None when it has no near-duplicate."""

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) of the text as UTF-8."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Aliases:
    """Other names for a fact's subject and object."""

    subject: tuple[str, ...] = ()
    object: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """A prompt and its completion; for facts also who (subject) and what (object)."""

    id: str
    task: str
    prompt: str
    completion: str
    relation: str | None = None
    subject: str | None = None
    object: str | None = None
    aliases: Aliases = field(default_factory=Aliases)
    entails: tuple[str, ...] | None = None
    """Ids of the passages that state the fact; None where "states the fact" has no meaning."""

    @property
    def frequency(self) -> int | None:
        """Number of passages that state the fact."""
        return None if self.entails is None else len(self.entails)


def query_hash(prompt: str, completion: str) -> str:
    """SHA-256 (hex) of a query's two texts: the same in every query set that asks the same."""
    return hashlib.sha256(json.dumps([prompt, completion], ensure_ascii=False).encode()).hexdigest()


def fact_queries(queries: Sequence[Query]) -> list[int]:
    """Rows of the fact queries that some passage entails."""
    return [row for row, query in enumerate(queries) if query.task == "facts" and query.entails]
