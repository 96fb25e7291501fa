"""Query parameters of the pages of flags."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.http.parameters import Parameters, one_of
from backend.curation.flags import FlagFilter, Reason

LIMIT = 100


class CorpusParameters(Parameters):
    """Which flags of which corpus."""

    reason: Annotated[str, one_of(*Reason)] | None = None
    corpus: Annotated[str, Field(max_length=64)] | None = None
    """The newest one without."""


class FlagListed(CorpusParameters):
    """What narrows a list of flags."""

    state: Literal["standing", "cleared", "all"] = "standing"

    @property
    def wanted(self) -> FlagFilter:
        """The filter of the list."""
        standing = {"standing": True, "cleared": False, "all": None}[self.state]
        return FlagFilter(self.reason, self.corpus, standing)


class FlagParameters(FlagListed):
    """A page of the list: behind the flag ``after``, at most ``limit``."""

    after: Annotated[str, Field(max_length=64)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = LIMIT
