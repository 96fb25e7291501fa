"""Query parameters of a passage's page."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.http.parameters import Parameters


class PassageParameters(Parameters):
    """Which corpus an id is of, and how many prompts of each method and side to list."""

    corpus: Annotated[str, Field(max_length=100)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 10
