"""JSON bodies of requests, read strictly: whatever is sent, a client hears what is wrong with it and nothing breaks."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from app.http.errors import FieldError, Problem

B = TypeVar("B", bound=BaseModel)
LONGEST_NAME = 100
"""Characters of an unknown field's name that the answer repeats."""

HALF_CHARACTER = "string_unicode"
"""Pydantic's name for a string with a lone surrogate, which JSON can spell and no text can hold."""


class _Twice(ValueError):
    """A field is given more than once."""


def body_of(model: type[B]) -> Callable[[Request], Awaitable[B]]:
    """A dependency that reads a model from a JSON body; raises a Problem of status 400, 415 or 422."""

    async def read(request: Request) -> B:
        _check_type(request.headers.get("content-type", ""))
        given = _parse(await request.body())
        if not isinstance(given, dict):
            raise _refused(FieldError("body", "is not a JSON object"))
        try:
            return model.model_validate(given)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False, include_context=False)
        errors = [_field_error(model, item["loc"], item["type"], item["msg"]) for item in details]
        if all(item["type"] == HALF_CHARACTER and item["loc"] for item in details):
            raise unaskable(*errors)
        raise _refused(*errors)

    return read


def unaskable(*errors: FieldError) -> Problem:
    """A 422: the request is understood, but this question cannot be asked."""
    return Problem(422, "This question cannot be asked", "Change what is named here and ask again.", errors)


def _check_type(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Problem(415, "Not JSON", "Send the body as JSON, with `Content-Type: application/json`.")


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_no_number, object_pairs_hook=_once)
    except UnicodeDecodeError:
        reason = "is not UTF-8"
    except _Twice as twice:
        reason = f"gives “{printable(str(twice))}” more than once"
    except RecursionError:
        reason = "is nested too deeply"
    except ValueError as error:  # of numbers with thousands of digits too
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        reason = f"is not JSON{place}"
    raise _refused(FieldError("body", reason))


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _field_error(model: type[BaseModel], location: tuple[int | str, ...], kind: str, message: str) -> FieldError:
    field = printable(".".join(str(part) for part in location) or "body")
    if kind == "extra_forbidden":
        return FieldError(field, f"is unknown here; known are {', '.join(model.model_fields)}")
    if kind == HALF_CHARACTER:
        return FieldError(field, "holds half of a character (a lone surrogate): remove it")
    return FieldError(field, message)


def printable(text: str) -> str:
    """A client's own text, short and fit for any encoding."""
    short = text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…"
    return short.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _refused(*errors: FieldError) -> Problem:
    return Problem(400, "Not understood", "The body of this request cannot be used.", errors)
