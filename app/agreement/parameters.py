"""Query parameters of the page of agreement."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.http.parameters import Parameters, one_of
from backend.annotations.agreement import Scope
from backend.core.records import TASKS


class AgreementParameters(Parameters):
    """Which judgements count."""

    pool: Annotated[str, Field(max_length=64)] | None = None
    task: Annotated[str, one_of(*TASKS)] | None = None
    include: Literal["in-place"] | None = None
    """``in-place``: also annotations that were not made blind."""

    @property
    def scope(self) -> Scope:
        """The scope of the judgements."""
        return Scope(self.pool, self.task, in_place=self.include == "in-place")
