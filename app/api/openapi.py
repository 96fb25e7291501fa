"""The API described as OpenAPI 3.1, with what all of its operations have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.routing import BaseRoute

from app.api.schemas.problems import Problem

VERSION = "1.1"
"""Of the API, not of the program: the first number is that of its addresses."""

EXAMPLES = Path(__file__).with_name("examples.json")
"""Operation id -> an answer; problem -> an error. Their numbers are made up."""

ABOUT = """\
Which training passages stand behind a language model's outputs: prompts, passages, runs of attribution methods, the
methods in words, and questions of your own. Scores are estimates of influence, not proofs.

**Questions** are the one thing that is written: `POST /api/v1/questions` asks, a worker answers within seconds to
minutes, `GET /api/v1/questions/{id}` tells how far it is. The same question is answered once, whoever asks it. Who
asks too often is answered 429, with `Retry-After`.

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
    ("questions", "Questions of your own: the passages behind any completion of any prompt."),
)
TAG_HEADER = {
    "ETag": {
        "description": "Names this very answer.",
        "schema": {"type": "string", "examples": ['"0f343b0931126a20f133d67c2b018a3b"']},
    }
}
ERRORS: dict[str, tuple[str, str]] = {
    "400": (
        "BadParameters",
        "A parameter or field is unknown or has a value that cannot be used; `errors` names each.",
    ),
    "403": ("AskingIsOff", "Nobody may ask here, or another site made a browser send this."),
    "404": ("NotFound", "There is nothing of this name."),
    "405": ("MethodNotAllowed", "The address does not answer this method."),
    "413": ("BodyTooLarge", "The body is longer than anything here needs (1 MB)."),
    "415": ("NotJson", "The body is not declared as JSON."),
    "422": ("Unaskable", "The question is understood and cannot be asked; `errors` says why, by field."),
    "429": ("TooManyRequests", "This address, or this reader, has asked for too much within a minute."),
    "503": ("Unavailable", "The catalogue cannot be read just now, or too many questions wait; try again."),
}
"""Status -> name and description of the error."""

COMMON = ("400", "405", "429", "503")
"""Errors of every operation; 404 where a name is part of the address, and all where something is sent."""

WAITING = {"429", "503"}
"""Errors that say when to try again."""

IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "Any text of yours that names this request, such as a UUID: sent again with the same body, it gives the same "
        "answer and nothing is asked again; with another body it is refused with 422. Keys of other clients do not "
        "matter."
    ),
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[ -~]{1,255}$",
        "examples": ["0b7c8a52-7d0e-4b0e-9d3c-2f1f6f0f5a11"],
    },
}
LOCATION = {"Location": {"description": "Address of the question.", "schema": {"type": "string"}}}


def body(model: type[BaseModel]) -> dict[str, Any]:
    """A JSON body of this form, as OpenAPI has it."""
    return {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}


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
    for name in ("HTTPValidationError", "ValidationError"):  # what is refused is a Problem
        components["schemas"].pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
    components["responses"] = {name: _error(status, text, examples) for status, (name, text) in ERRORS.items()}
    return found


def _complete(operation: dict[str, Any], example: Any) -> None:
    """Add to an operation the example of its answer, and the answers that every operation can give."""
    responses = operation["responses"]
    responses.pop("422", None)
    asks = "requestBody" in operation
    for status in ("200", "202") if asks else ("200",):
        responses[status]["headers"] = LOCATION if asks else TAG_HEADER
        responses[status]["content"]["application/json"]["example"] = example
    if asks:
        responses["200"]["description"] = "The question is known already."
    else:
        text = "The answer is still the one that `If-None-Match` names."
        responses["304"] = {"description": text, "headers": TAG_HEADER}
    named = any(parameter["in"] == "path" for parameter in operation.get("parameters", ()))
    for status, (name, _) in ERRORS.items():
        if status in COMMON or asks or (status == "404" and named):
            responses[status] = {"$ref": f"#/components/responses/{name}"}


def _error(status: str, text: str, examples: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": examples[status]}
    later = {"description": "Seconds to wait before asking again.", "schema": {"type": "integer", "examples": [5]}}
    headers = {"headers": {"Retry-After": later}} if status in WAITING else {}
    return {"description": text, **headers, "content": {"application/problem+json": content}}
