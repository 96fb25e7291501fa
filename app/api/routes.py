"""Addresses of the API: the data of the JSON twins under names that stay."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from app.api import questions, views
from app.api.bodies import body_of
from app.api.openapi import IDEMPOTENCY_KEY, body, describe
from app.api.parameters import DESCRIPTIONS, PassageListParameters, QuestionListParameters, documented
from app.api.schemas.methods import Method, MethodList
from app.api.schemas.passages import Passage, PassageList
from app.api.schemas.prompts import Prompt, PromptList
from app.api.schemas.questions import Question, QuestionList, QuestionRequest
from app.api.schemas.runs import Run, RunList
from app.ask.asking import require_asking
from app.ask.readers import reader_of
from app.http.database import ReadSession
from app.http.errors import FieldError, not_found
from app.http.limits import asking_limit
from app.http.parameters import NoParameters, bad_parameters, parameters_of
from app.passages import views as passages
from app.passages.parameters import PassageParameters
from app.prompts import routes as prompt_routes
from app.prompts import views as prompts
from app.prompts.parameters import ListParameters, PromptParameters
from app.runs import routes as run_routes
from app.runs.parameters import RunListParameters

PREFIX = "/api/v1"
router = APIRouter(prefix=PREFIX)
NothingAsked = Annotated[NoParameters, Depends(parameters_of(NoParameters))]
PromptListAsked = Annotated[ListParameters, Depends(parameters_of(ListParameters))]
PromptAsked = Annotated[PromptParameters, Depends(parameters_of(PromptParameters))]
PassageListAsked = Annotated[PassageListParameters, Depends(parameters_of(PassageListParameters))]
PassageAsked = Annotated[PassageParameters, Depends(parameters_of(PassageParameters))]
RunListAsked = Annotated[RunListParameters, Depends(parameters_of(RunListParameters))]
QuestionListAsked = Annotated[QuestionListParameters, Depends(parameters_of(QuestionListParameters))]
QuestionAsked = Annotated[QuestionRequest, Depends(body_of(QuestionRequest))]
IdempotencyKey = Annotated[str | None, Depends(questions.idempotency_key)]

Slug = Annotated[str, Path(description="Slug of the prompt.", examples=["capital-peru"])]
PassageId = Annotated[
    str,
    Path(
        description="Id of the passage in its corpus. It may hold slashes, as they are or as `%2F`.",
        examples=["factbook/peru/0"],
    ),
]
RunId = Annotated[str, Path(description="Id of the run.", examples=["trackstar-abc000000000"])]
MethodSlug = Annotated[str, Path(description="Slug of the method.", examples=["trackstar"])]
QuestionId = Annotated[str, Path(description="Id of the question.", examples=["5f0c2b9d81e64a7300c1d2e3"])]


async def asking_is_on(request: Request) -> None:
    """Raises a Problem (403) where nobody may ask."""
    require_asking(request)


@router.get(
    "/prompts",
    response_model=PromptList,
    operation_id="listPrompts",
    tags=["prompts"],
    summary="List prompts",
    openapi_extra=documented(ListParameters),
)
def list_prompts(request: Request, session: ReadSession, asked: PromptListAsked) -> dict[str, Any]:
    """Prompts of a filter in an order, with the metrics of each method over all of them."""
    try:
        return prompts.list_json(session, asked, path=request.url.path)
    except prompts.UnknownCursor as unknown:
        raise bad_parameters(request, unknown.error) from unknown


@router.get(
    "/prompts/{slug}",
    response_model=Prompt,
    operation_id="getPrompt",
    tags=["prompts"],
    summary="Read a prompt and the passages behind it",
    openapi_extra=documented(PromptParameters, matter=frozenset({"methods", "k"})),
)
def get_prompt(request: Request, session: ReadSession, slug: Slug, asked: PromptAsked) -> dict[str, Any]:
    """A prompt, what the model says, and the lists of the current run of each method."""
    return prompt_routes.prompt_json(request, session, slug, asked)


@router.get(
    "/passages",
    response_model=PassageList,
    operation_id="listPassages",
    tags=["passages"],
    summary="List passages",
    openapi_extra=documented(PassageListParameters, {"after": (DESCRIPTIONS["after"][0], "factbook/peru/0")}),
)
def list_passages(request: Request, session: ReadSession, asked: PassageListAsked) -> dict[str, Any]:
    """Passages of a corpus in its order."""
    try:
        return views.passage_list_json(session, asked, path=request.url.path)
    except views.UnknownName as unknown:
        raise bad_parameters(request, unknown.error) from unknown


@router.get(
    "/passages/{passage_id:path}",
    response_model=Passage,
    operation_id="getPassage",
    tags=["passages"],
    summary="Read a passage and the prompts it stands behind",
    openapi_extra=documented(
        PassageParameters,
        {
            "corpus": ("Id of a corpus; by default the newest one that holds such a passage.", "c0ffee000001"),
            "limit": ("Most prompts of each method and side.", 20),
        },
    ),
)
def get_passage(session: ReadSession, passage_id: PassageId, asked: PassageAsked) -> dict[str, Any]:
    """A passage, its near-copies, and the prompts that current runs rank it for."""
    found = passages.find(session, passage_id, asked)
    if found is None:
        raise not_found(f"There is no passage “{passage_id}” here.")
    return passages.passage_json(session, found, asked)


@router.get(
    "/runs",
    response_model=RunList,
    operation_id="listRuns",
    tags=["runs"],
    summary="List runs",
    openapi_extra=documented(RunListParameters, {"after": (DESCRIPTIONS["after"][0], "trackstar-abc000000000")}),
)
def list_runs(request: Request, session: ReadSession, asked: RunListAsked) -> dict[str, Any]:
    """Runs, newest first."""
    found = run_routes.list_json(request, session, asked)
    following = found["next"]
    return {**found, "next": following and request.url.path + following.removeprefix("/runs.json")}


@router.get(
    "/runs/{run_id}",
    response_model=Run,
    operation_id="getRun",
    tags=["runs"],
    summary="Read a run",
)
def get_run(session: ReadSession, run_id: RunId, asked: NothingAsked) -> dict[str, Any]:
    """What a run was made from, its metrics, and how its model learnt."""
    return run_routes.run_json(session, run_id, asked)


@router.get(
    "/methods",
    response_model=MethodList,
    operation_id="listMethods",
    tags=["methods"],
    summary="List methods",
)
def list_methods(session: ReadSession, asked: NothingAsked) -> dict[str, Any]:
    """Every method that this installation knows or has runs of, in plain words."""
    return views.method_list_json(session)


@router.get(
    "/methods/{slug}",
    response_model=Method,
    operation_id="getMethod",
    tags=["methods"],
    summary="Read a method",
)
def get_method(session: ReadSession, slug: MethodSlug, asked: NothingAsked) -> dict[str, Any]:
    """One method in plain words, and its current runs."""
    found = views.method_json(session, slug)
    if found is None:
        raise not_found(f"There is no method “{slug}” here.")
    return found


@router.post(
    "/questions",
    response_model=Question,
    response_model_exclude_unset=True,
    operation_id="askQuestion",
    tags=["questions"],
    summary="Ask which passages stand behind a completion",
    dependencies=[Depends(asking_is_on), Depends(asking_limit)],
    responses={202: {"model": Question, "description": "The question is new and waits for a worker."}},
    openapi_extra={"parameters": [IDEMPOTENCY_KEY], "requestBody": body(QuestionRequest)},
)
def ask_question(
    request: Request, response: Response, nothing: NothingAsked, asked: QuestionAsked, key: IdempotencyKey
) -> dict[str, Any]:
    """Asks a question of one's own: 202 where it is new, 200 where it is known already, to you or to anybody.

    Read `/api/v1/questions/{id}` until `state` is `done`, `failed` or `cancelled`. A question that failed or was
    cancelled is tried again when it is asked again.
    """
    found, new = questions.ask(request, asked, key)
    response.status_code = 202 if new else 200
    response.headers["Location"] = f"{PREFIX}/questions/{found['id']}"
    response.headers["Cache-Control"] = "no-store"
    return found


@router.get(
    "/questions",
    response_model=QuestionList,
    operation_id="listQuestions",
    tags=["questions"],
    summary="List your own questions",
    openapi_extra=documented(
        QuestionListParameters,
        {"after": ("The id of the question that the page starts behind.", "5f0c2b9d81e64a7300c1d2e3")},
    ),
)
def list_questions(
    request: Request, response: Response, session: ReadSession, asked: QuestionListAsked
) -> dict[str, Any]:
    """Questions of the reader whose cookie `reader` comes along, newest first; without the cookie none."""
    reader = reader_of(request)
    found = questions.list_json(session, asked, None if reader is None else reader.hash, path=request.url.path)
    if found is None:
        raise bad_parameters(request, FieldError("after", "names no question of yours"))
    response.headers["Cache-Control"] = "no-store"
    return found


@router.get(
    "/questions/{question_id}",
    response_model=Question,
    response_model_exclude_unset=True,
    operation_id="getQuestion",
    tags=["questions"],
    summary="Read a question: how far it is, or its ranking",
)
def get_question(
    request: Request, response: Response, session: ReadSession, question_id: QuestionId, asked: NothingAsked
) -> dict[str, Any]:
    """How far a question is while it is open; its completion and ranking when it is done."""
    reader = reader_of(request)
    found = questions.question_json(session, question_id, None if reader is None else reader.hash)
    if found is None:
        raise not_found("There is no question of this id here.")
    answer, is_open = found
    response.headers["Cache-Control"] = "no-store" if is_open else "private, no-cache"
    response.headers["Vary"] = "Cookie"
    return answer


@lru_cache(maxsize=1)
def description() -> dict[str, Any]:
    """The description of every address above."""
    return describe(router.routes)


@router.get("/openapi.json", include_in_schema=False)
def openapi(asked: NothingAsked) -> dict[str, Any]:
    return description()
