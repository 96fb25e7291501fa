"""Query parameters of the pages of comparisons."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from app.http.parameters import Parameters
from backend.catalogue.comparisons import Wanted

LIMIT = 25
"""Prompts on a page of a comparison, unless asked otherwise."""

MOST_CHOSEN = 200
"""Prompts that an address can choose."""

Start = Annotated[int, Field(ge=1, le=10_000_000)]


def _slugs(value: str | None) -> str | None:
    """Slugs joined by commas, each once."""
    given = list(dict.fromkeys(part.strip() for part in (value or "").split(",") if part.strip()))
    if len(given) > MOST_CHOSEN:
        raise ValueError(f"names {len(given)} prompts, more than {MOST_CHOSEN}")
    return ",".join(given) or None


class ComparisonListParameters(Parameters):
    """A page of the list: ``limit`` comparisons from the ``start``-th on."""

    start: Start = 1
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class ChosenParameters(Parameters):
    """Which prompts of a comparison: those of these slugs, those that hold these words, or all."""

    LISTS: ClassVar[frozenset[str]] = frozenset({"prompts"})

    q: Annotated[str | None, Field(max_length=500), AfterValidator(lambda typed: (typed or "").strip() or None)] = None
    prompts: Annotated[str | None, Field(max_length=50_000), AfterValidator(_slugs)] = None

    @property
    def slugs(self) -> tuple[str, ...] | None:
        """The chosen slugs; None for no choice."""
        return tuple(self.prompts.split(",")) if self.prompts else None

    @property
    def wanted(self) -> Wanted:
        """The filter of the catalogue."""
        return Wanted(q=self.q, slugs=self.slugs)


class ComparisonParameters(ChosenParameters):
    """The same, a page of them: ``limit`` prompts from the ``start``-th on."""

    start: Start = 1
    limit: Annotated[int, Field(ge=1, le=200)] = LIMIT
