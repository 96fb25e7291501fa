"""Query parameters of the list of runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.http.parameters import Parameters


class RunListParameters(Parameters):
    """A page of the list: behind the run ``after``, at most ``limit``."""

    after: Annotated[str, Field(max_length=200)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
