"""Query parameters of the page of methods."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from app.http.parameters import Parameters

MOST_LINES = 8
"""Lines in one chart that can be told apart."""

USUAL_LINES = ("trackstar", "gradient-cosine", "gradient-dot", "logra", "trak", "bm25")
"""Methods that charts draw where a reader has chosen none."""


class MethodsParameters(Parameters):
    """Which prompts the numbers are over, what charts show, and whose lines they draw."""

    LISTS: ClassVar[frozenset[str]] = frozenset({"methods"})

    query_set: Annotated[str, Field(max_length=200)] | None = None
    metric: Literal["mrr", "tail-patch"] = "mrr"
    methods: Annotated[str, Field(max_length=1000)] | None = None

    def lines(self, known: list[str]) -> list[str]:
        """Of the methods that have numbers, those whose lines are drawn: at most MOST_LINES, in the order of pages."""
        chosen = None if self.methods is None else {part.strip() for part in self.methods.split(",")}
        wanted = [slug for slug in known if slug in (USUAL_LINES if chosen is None else chosen)]
        return (wanted or known)[:MOST_LINES]
