"""Questions: what is asked, and what is answered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas.base import Answer, Moment, Page, Rank
from app.api.schemas.prompts import PromptRanking
from backend.jobs.records import MOST_K, K

Name = Annotated[str, Field(min_length=1, max_length=100)]


class QuestionRequest(BaseModel):
    """A question of one's own: which passages stand behind a completion."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {"prompt": "The capital of Peru is", "completion": " Lima", "method": "trackstar"},
                {"prompt": "The capital of Peru is", "completion": None, "method": "bm25", "task": "facts", "k": 20},
            ]
        },
    )

    prompt: str
    """What the model is given; not empty or white space alone, and not longer than the model takes."""
    completion: str | None = None
    """The text whose sources are looked for; null or left out: the model's own greedy completion."""
    method: Name
    """Slug of the method; it must have a run over the prompts that are asked beside."""
    task: Name | None = None
    """Slug of the task whose curvature a method may add to that of the training data; null: none."""
    k: Annotated[int, Field(ge=1, le=MOST_K)] = K
    """Passages of each list."""
    query_set: Name | None = None
    """Id of a set of prompts, as a run's `queries` names it: its model and corpus are asked. Null: the newest."""


State = Literal["queued", "running", "done", "failed", "cancelled"]


class QuestionFields(Answer):
    """How far a question is."""

    id: str
    """Id of the question: the same question has the same one."""
    state: State
    """`queued`, `running`, `done`, `failed` or `cancelled`."""
    url: str
    """Address of the page that shows it, relative to this host."""
    result_url: str | None
    """Permalink of the page with its ranking; null before it is done."""
    error: str | None
    """Why it failed; null unless it did."""


class Question(QuestionFields):
    """A question: how far it is while it is open, its ranking when it is done."""

    position: Rank | None = None
    """While it is open: its place in the queue, 1 for the next; null while it runs."""
    stage: str | None = None
    """While it is open: what the worker is at; empty before it starts."""
    progress: Annotated[float, Field(ge=0, le=1)] | None = None
    """While it is open: share of the stage that is done, from 0 to 1."""
    seconds_left: Annotated[float, Field(ge=0)] | None = None
    """While it is open: about how long it will take, by earlier ones; null where there were none."""
    completion: str | None = None
    """When it is done: the completion that passages were ranked for."""
    rankings: list[PromptRanking] | None = None
    """When it is done: its ranking, one element in the form of a prompt's."""


class QuestionItem(QuestionFields):
    """A question in a list."""

    prompt: str
    """The prompt that was asked about."""
    method: str | None
    """Slug of the method."""
    asked_at: Moment
    """When this reader asked last, with its time zone."""


class QuestionList(Page[QuestionItem]):
    """A reader's own questions, newest first."""
