"""The page that shows the API and tries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

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

    path: str
    summary: str
    text: str
    parameters: list[tuple[str, str]]
    """(name, what it means)."""


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
    found = [(path, item["get"]) for path, item in description()["paths"].items()]
    return DocsPage(
        openapi=f"{PREFIX}/openapi.json",
        groups=[
            Group(name, text, [_endpoint(path, operation) for path, operation in found if name in operation["tags"]])
            for name, text in TAGS
        ],
    )


def _endpoint(path: str, operation: dict[str, object]) -> Endpoint:
    parameters: list[dict[str, str]] = operation.get("parameters", [])  # type: ignore[assignment]
    return Endpoint(
        path=path,
        summary=str(operation["summary"]),
        text=str(operation["description"]),
        parameters=[(parameter["name"], parameter["description"]) for parameter in parameters],
    )


@router.get("/docs")
def docs(request: Request, asked: NothingAsked) -> Response:
    return render(request, "api/docs.html", {"page": docs_page()})
