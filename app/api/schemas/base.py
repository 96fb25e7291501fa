"""What all answers share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _is_moment(value: str) -> str:
    datetime.fromisoformat(value)
    return value


Moment = Annotated[str, AfterValidator(_is_moment), Field(json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(ge=0)]
Rank = Annotated[int, Field(ge=1)]
Side = Literal["proponents", "opponents"]


class Answer(BaseModel):
    """Exactly these fields, of exactly these types."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)


Item = TypeVar("Item", bound=Answer)


class Page(Answer, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    """What this page holds."""

    next: str | None
    """Address of the next page, relative to this host; null on the last page."""
    total: Count
    """How many items the whole list has, on all of its pages."""
