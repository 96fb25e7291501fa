"""Query parameters of the pages of prompts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from app.http.parameters import Parameters
from backend.catalogue.prompts import PromptFilter
from backend.core.metrics import BUCKETS
from backend.core.records import TASKS

DEFAULT_METHODS = ("trackstar", "bm25")


def _one_of(*allowed: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"“{value}” is none of {', '.join(allowed)}")
        return value

    return AfterValidator(check)


class FilterParameters(Parameters):
    """What narrows a list of prompts."""

    task: Annotated[str, _one_of(*TASKS)] | None = None
    relation: Annotated[str, Field(max_length=200)] | None = None
    bucket: Annotated[str, _one_of(*BUCKETS)] | None = None

    @property
    def wanted(self) -> PromptFilter:
        """The filter of the catalogue."""
        return PromptFilter(self.task, self.relation, self.bucket)


class ListParameters(FilterParameters):
    """A page of the list: behind the prompt ``after``, at most ``limit``."""

    after: Annotated[str, Field(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class PinnedParameters(Parameters):
    """How many passages of which side a prompt's columns show."""

    side: Literal["proponents", "opponents"] = "proponents"
    k: Annotated[int, Field(ge=1, le=100)] = 10


class PromptParameters(PinnedParameters):
    """The same, and which methods' columns."""

    LISTS: ClassVar[frozenset[str]] = frozenset({"methods"})

    methods: Annotated[str, Field(max_length=1000)] | None = None

    @property
    def chosen(self) -> tuple[str, ...] | None:
        """The methods asked for, each once; None for the default."""
        if self.methods is None:
            return None
        return tuple(dict.fromkeys(part.strip() for part in self.methods.split(",") if part.strip())) or None
