"""Errors."""

from __future__ import annotations

from pydantic import Field

from app.api.schemas.base import Answer


class FieldError(Answer):
    """What is wrong with one parameter."""

    field: str
    """Name of the parameter."""
    message: str
    """What is wrong with it, in words."""


class Problem(Answer):
    """An error as RFC 9457 has it."""

    type: str
    """Always `about:blank`: the status says what kind of error it is."""
    title: str
    """The error in a few words."""
    status: int
    """The status code of the answer."""
    detail: str
    """What is wrong, in a sentence."""
    instance: str
    """Path of the request."""
    request_id: str
    """Number of the request; the server's log has details under it."""
    errors: list[FieldError] = Field(default_factory=list)
    """What is wrong with each parameter; left out where no parameter is wrong."""
