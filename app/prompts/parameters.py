"""Query parameters of the pages of prompts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from app.http.parameters import Parameters, one_of
from backend.catalogue.prompt_lists import PromptFilter, Sort
from backend.core.metrics import BUCKETS
from backend.core.records import TASKS

DEFAULT_METHODS = ("trackstar", "bm25")
LIMIT = 50
"""Prompts on a page of the list, unless asked otherwise."""

LONGEST_RELATION = 2_000

K = 10
"""Passages of a method on a prompt's page, unless asked otherwise."""


def _buckets(value: str) -> str:
    """Buckets in their own order, each once; a plus sign that an address turned into a space is put back."""
    given = {"50+" if part == "50 " else part.strip() for part in value.split(",")} - {""}
    if unknown := sorted(given - set(BUCKETS)):
        raise ValueError(f"“{unknown[0]}” is none of {', '.join(BUCKETS)}")
    return ",".join(bucket for bucket in BUCKETS if bucket in given)


def _typed(value: str | None) -> str | None:
    """What was typed without white space around it; nothing but that is nothing."""
    return (value or "").strip() or None


def _yes_or_no(value: Any) -> Any:
    known = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    if isinstance(value, str):
        if value.lower() not in known:
            raise ValueError(f"“{value}” is neither true nor false")
        return known[value.lower()]
    return value


YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]


class FilterParameters(Parameters):
    """What narrows a list of prompts."""

    LISTS: ClassVar[frozenset[str]] = frozenset({"bucket"})

    q: Annotated[str | None, Field(max_length=500), AfterValidator(_typed)] = None
    """Words that a prompt, its completion or its names hold."""
    task: Annotated[str, one_of(*TASKS)] | None = None
    relation: Annotated[str, Field(max_length=LONGEST_RELATION)] | None = None
    bucket: Annotated[str, AfterValidator(_buckets)] | None = None
    """How many passages state the fact; several joined by commas."""
    correct: YesOrNo | None = None
    confident: YesOrNo | None = None
    annotated: YesOrNo | None = None
    opponents: YesOrNo | None = None

    @property
    def wanted(self) -> PromptFilter:
        """The filter of the catalogue."""
        given = {name: getattr(self, name) for name in FILTERS if name != "bucket"}
        return PromptFilter(**given, bucket=tuple(self.bucket.split(",")) if self.bucket else ())


FILTERS = tuple(FilterParameters.model_fields)


class ListedParameters(FilterParameters):
    """A filtered list in an order: what a page of it, and a prompt's page opened from it, carry."""

    sort: Sort = "order"

    @property
    def list_address(self) -> dict[str, object]:
        """The list as parameters of an address; what is as usual is left out."""
        given: dict[str, object] = self.model_dump(include={*FILTERS}, exclude_none=True)
        return given if self.sort == "order" else {**given, "sort": self.sort}


class ListParameters(ListedParameters):
    """A page of the list: behind the prompt ``after``, at most ``limit``."""

    after: Annotated[str, Field(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = LIMIT


class PinnedParameters(Parameters):
    """Which passages of which side a prompt's columns show: ``k`` of them from rank ``start`` on."""

    side: Literal["proponents", "opponents"] = "proponents"
    k: Annotated[int, Field(ge=1, le=100)] = K
    start: Annotated[int, Field(ge=1, le=100_000)] = 1
    copies: Literal["folded", "each"] = "folded"
    """Near-copies that stand in one list: under the first of them, or each by itself."""


class PromptParameters(PinnedParameters, ListedParameters):
    """The same, which methods' columns, and the list that the prompt was opened from."""

    LISTS: ClassVar[frozenset[str]] = frozenset({"methods", "bucket"})

    methods: Annotated[str, Field(max_length=1000)] | None = None

    @property
    def chosen(self) -> tuple[str, ...] | None:
        """The methods asked for, each once; None for the default."""
        if self.methods is None:
            return None
        return tuple(dict.fromkeys(part.strip() for part in self.methods.split(",") if part.strip())) or None
