"""Query parameters of the admin's pages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.http.parameters import Parameters

LIMIT = 100


class TrailFilter(Parameters):
    """What narrows the trail."""

    user: Annotated[str, Field(max_length=40)] | None = None
    """The actor's name."""
    action: Annotated[str, Field(max_length=60)] | None = None
    """An action such as ``user.disable``, or what actions begin with (``user``)."""


class TrailParameters(TrailFilter):
    """A page of it: events before the number ``before``, at most ``limit``."""

    before: Annotated[int, Field(ge=1, le=2**62)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = LIMIT


class DoneParameters(Parameters):
    """What was done just now, for a notice."""

    done: Annotated[str, Field(max_length=40)] | None = None
