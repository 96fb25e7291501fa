"""Query parameters: one small model a page, strict on JSON, forgiving about unknown ones on HTML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from app.http.errors import FieldError, Problem
from app.http.formats import wants_json


class Parameters(BaseModel):
    """Parameters that a page takes; empty ones, as GET forms send them, count as not given."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    LISTS: ClassVar[frozenset[str]] = frozenset()
    """Parameters that may come several times (check boxes); they are joined by commas."""


class NoParameters(Parameters):
    """For pages that take none."""


def one_of(*allowed: str) -> AfterValidator:
    """For an annotation: a parameter that is one of these."""

    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"“{value}” is none of {', '.join(allowed)}")
        return value

    return AfterValidator(check)


P = TypeVar("P", bound=Parameters)


def parameters_of(model: type[P]) -> Callable[[Request], P]:
    """A dependency that reads a model from the query string; raises a Problem of status 400."""

    def read(request: Request) -> P:
        strict = wants_json(request)
        values: dict[str, Any] = {}
        errors: list[FieldError] = []
        for name in request.query_params:
            given = [value for value in request.query_params.getlist(name) if value != ""]
            if name not in model.model_fields:
                if strict:
                    errors.append(FieldError(name, f"is unknown here; {_known(model)}"))
            elif name in model.LISTS:
                values[name] = ",".join(given).replace("\0", "\N{REPLACEMENT CHARACTER}")
            elif len(given) > 1:
                errors.append(FieldError(name, "is given more than once"))
            elif given and "\0" in given[0]:  # PostgreSQL knows no such text
                errors.append(FieldError(name, "holds a NUL character"))
            elif given:
                values[name] = given[0]
        try:
            parameters = model.model_validate({name: value for name, value in values.items() if value != ""})
        except ValidationError as error:
            errors += [
                FieldError(str(item["loc"][0]), item["msg"].removeprefix("Value error, ")) for item in error.errors()
            ]
        if errors:
            raise bad_parameters(request, *errors)
        return parameters

    return read


def bad_parameters(request: Request, *errors: FieldError) -> Problem:
    """A 400 that names each wrong parameter and links to the page without parameters."""
    return Problem(
        400,
        "This address asks for something that is not there",
        "Some of the values behind the “?” of this address cannot be used.",
        errors,
        link=(request.url.path, "The same page without them"),
    )


def _known(model: type[Parameters]) -> str:
    names = list(model.model_fields)
    return f"known are {', '.join(names)}" if names else "this address takes no parameters"
