"""Every error as one page or one problem+json (RFC 9457), with a request id and nothing from inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from app.http.formats import wants_json
from app.http.logs import CLIENT_LEFT, log, route_of, visit_of
from app.http.rendering import render
from backend.catalogue.database import CatalogueError

DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not answer that method.",
    413: "The body is longer than anything here needs.",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one parameter."""

    field: str
    message: str


@dataclass
class Problem(Exception):
    """An error that a reader can understand; raise it from a route, or return its response."""

    status: int
    title: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    link: tuple[str, str] | None = None
    """(URL, text) of where to go from here."""
    headers: Mapping[str, str] = field(default_factory=dict)


def not_found(detail: str, link: tuple[str, str] | None = None) -> Problem:
    """A 404 that says what is not there."""
    return Problem(404, "Not found", detail, link=link)


def problem_response(request: Request, problem: Problem) -> Response:
    """The problem as JSON, as a page, or as the part that htmx puts into a page."""
    request_id = visit_of(request.scope).id
    headers = {"Vary": "Accept, HX-Request-Type, Cookie", "Cache-Control": "no-cache", **problem.headers}
    if wants_json(request):
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": problem.title,
            "status": problem.status,
            "detail": problem.detail,
            "instance": request.url.path,
            "request_id": request_id,
        }
        if problem.errors:
            body["errors"] = [{"field": error.field, "message": error.message} for error in problem.errors]
        return JSONResponse(body, problem.status, headers=headers, media_type="application/problem+json")
    return render(
        request,
        "errors/problem.html",
        {"problem": problem, "request_id": request_id},
        block="message",
        status=problem.status,
        headers=headers,
    )


def add_error_handlers(app: FastAPI) -> None:
    """Bring every error that a route, the router or the database raises into the same form."""

    @app.exception_handler(Problem)
    def on_problem(request: Request, error: Problem) -> Response:
        return problem_response(request, error)

    @app.exception_handler(HTTPException)
    def on_http(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        detail = DETAILS.get(error.status_code, title)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods_at(app, route_of(request.scope))))
        return problem_response(request, Problem(error.status_code, title, detail, headers=headers))

    @app.exception_handler(RequestValidationError)
    def on_validation(request: Request, error: RequestValidationError) -> Response:
        errors = tuple(
            FieldError(".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0]), item["msg"])
            for item in error.errors()
        )
        return problem_response(
            request, Problem(422, "Not understood", "Something in this request is not as it must be.", errors)
        )

    @app.exception_handler(CatalogueError)
    def on_catalogue(request: Request, error: CatalogueError) -> Response:
        log.error("catalogue unreadable", route=route_of(request.scope), reason=str(error))
        problem = Problem(
            503,
            "The catalogue cannot be read",
            "The server's own log says why, under the number of this request. Try again in a moment.",
            headers={"Retry-After": "5"},
        )
        return problem_response(request, problem)

    @app.exception_handler(ClientDisconnect)
    def on_leaving(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_LEFT)  # nobody reads it; the log does

    @app.exception_handler(Exception)
    def on_bug(request: Request, error: Exception) -> Response:
        # The traceback follows: the error is raised on, and the server logs it with the same number.
        log.error("request failed", method=visit_of(request.scope).method, route=route_of(request.scope))
        problem = Problem(
            500,
            "Something went wrong here",
            "A fault of the server, not yours. Its log has the details, by the number of this request.",
        )
        return problem_response(request, problem)


def _methods_at(app: FastAPI, template: str) -> set[str]:
    """Methods of all routes of a template; the router itself names those of the first one alone."""
    found = [context for context in iter_route_contexts(app.routes) if context.path == template]
    return {method for context in found for method in context.methods or ()}
