"""The API described as OpenAPI 3.1, with what all of its operations have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from app.api.schemas.problems import Problem

VERSION = "1.0"
"""Of the API, not of the program: the first number is that of its addresses."""

EXAMPLES = Path(__file__).with_name("examples.json")
"""Operation id -> an answer; problem -> an error. Their numbers are made up."""

ABOUT = """\
Which training passages stand behind a language model's outputs: prompts, passages, runs of attribution methods, and
the methods in words. Everything is read only. Scores are estimates of influence, not proofs.

**Lists** have `items`, `total` and `next`, the address of the next page. **Unknown parameters** are refused with 400;
an empty value counts as not given. **Errors** are `application/problem+json`; a fault of the server is one too, with
status 500. **Answers** carry an `ETag`: send it back as `If-None-Match` and an answer that has not changed is a 304
without a body. **HEAD** is answered like GET. Numbers in examples are made up.
"""
TAGS = (
    ("prompts", "Prompts, the model's answers, and the passages behind their completions."),
    ("passages", "Training passages, and the prompts they stand behind or against."),
    ("runs", "Runs: one method over one model, corpus and set of prompts."),
    ("methods", "Attribution methods in plain words."),
)
TAG_HEADER = {
    "ETag": {
        "description": "Names this very answer.",
        "schema": {"type": "string", "examples": ['"0f343b0931126a20f133d67c2b018a3b"']},
    }
}
ERRORS: dict[str, tuple[str, str]] = {
    "400": ("BadParameters", "A parameter is unknown or has a value that cannot be used; `errors` names each."),
    "404": ("NotFound", "There is nothing of this name."),
    "405": ("MethodNotAllowed", "The address answers GET and HEAD only."),
    "503": ("CatalogueUnreadable", "The catalogue cannot be read just now; try again."),
}
"""Status -> name and description of the error; 404 only where a name is part of the address."""


def describe(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The description of these routes alone."""
    found: dict[str, Any] = get_openapi(
        title="Proponent",
        version=VERSION,
        summary="Training-data attribution: which passages stand behind which outputs.",
        description=ABOUT,
        routes=routes,
        tags=[{"name": name, "description": text} for name, text in TAGS],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    examples = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    for item in found["paths"].values():
        for operation in item.values():
            _complete(operation, examples[operation["operationId"]])
    components = found["components"]
    for name in ("HTTPValidationError", "ValidationError"):  # values here are never refused with 422
        components["schemas"].pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
    components["responses"] = {name: _error(status, text, examples) for status, (name, text) in ERRORS.items()}
    return found


def _complete(operation: dict[str, Any], example: Any) -> None:
    """Add to an operation the example of its answer, and the answers that every operation can give."""
    responses = operation["responses"]
    responses.pop("422", None)
    responses["200"]["headers"] = TAG_HEADER
    responses["200"]["content"]["application/json"]["example"] = example
    responses["304"] = {"description": "The answer is still the one that `If-None-Match` names.", "headers": TAG_HEADER}
    named = any(parameter["in"] == "path" for parameter in operation.get("parameters", ()))
    for status, (name, _) in ERRORS.items():
        if status != "404" or named:
            responses[status] = {"$ref": f"#/components/responses/{name}"}


def _error(status: str, text: str, examples: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": examples[status]}
    later = {"description": "Seconds to wait before asking again.", "schema": {"type": "integer", "examples": [5]}}
    headers = {"headers": {"Retry-After": later}} if status == "503" else {}
    return {"description": text, **headers, "content": {"application/problem+json": content}}
