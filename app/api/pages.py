"""The page that shows the API and tries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.api.openapi import TAGS
from app.api.routes import PREFIX, description
from app.http.parameters import NoParameters, parameters_of
from app.http.rendering import render

router = APIRouter(include_in_schema=False)
NothingAsked = Annotated[NoParameters, Depends(parameters_of(NoParameters))]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of the API, for readers without JavaScript."""

    method: str
    path: str
    summary: str
    text: str
    parameters: list[tuple[str, str]]
    """(name, what it means)."""
    fields: list[tuple[str, str]]
    """The same of the body."""


@dataclass(frozen=True, slots=True)
class Group:
    """Addresses about one subject."""

    name: str
    text: str
    endpoints: list[Endpoint]


@dataclass(frozen=True, slots=True)
class DocsPage:
    """What the page shows."""

    openapi: str
    groups: list[Group]


def docs_page() -> DocsPage:
    """The page, made from the description."""
    found = [
        (method.upper(), path, operation)
        for path, item in description()["paths"].items()
        for method, operation in item.items()
    ]
    return DocsPage(
        openapi=f"{PREFIX}/openapi.json",
        groups=[Group(name, text, [_endpoint(*one) for one in found if name in one[2]["tags"]]) for name, text in TAGS],
    )


def _endpoint(method: str, path: str, operation: dict[str, Any]) -> Endpoint:
    return Endpoint(
        method=method,
        path=path,
        summary=operation["summary"],
        text=operation["description"],
        parameters=[(one["name"], one["description"]) for one in operation.get("parameters", ())],
        fields=[(name, field["description"]) for name, field in _body_of(operation).items()],
    )


def _body_of(operation: dict[str, Any]) -> dict[str, Any]:
    """The fields of an operation's body, by name."""
    content = operation.get("requestBody", {}).get("content", {})
    fields: dict[str, Any] = content.get("application/json", {}).get("schema", {}).get("properties", {})
    return fields


@router.get("/docs")
def docs(request: Request, asked: NothingAsked) -> Response:
    return render(request, "api/docs.html", {"page": docs_page()})
