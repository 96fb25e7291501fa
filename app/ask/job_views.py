"""The page of a question that is being answered, and the list of a reader's own questions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.ask.parameters import ask_address
from app.http.formats import address, prompt_address
from app.http.words import duration
from app.methods_text import method_text
from app.prompts.highlight import prompt_pieces
from backend.catalogue.models import Worker
from backend.jobs.client import AskView, JobView, asks_of, find_ask
from backend.jobs.queue import live_workers
from backend.jobs.records import K

PAGE = 50
"""Questions on a page of a reader's own."""

STATES = {
    "queued": "waiting",
    "running": "being answered",
    "done": "answered",
    "failed": "failed",
    "cancelled": "cancelled",
}
STAGES = {
    "": "begun",
    "loading": "the model and its index are being loaded",
    "completing": "the model completes the prompt",
    "gradient": "the model’s gradient is taken for the question",
    "scan": "every passage of the corpus is scored",
    "saving": "the list is being saved",
    "patching": "one training step is taken on each passage",
}
KINDS = {"complete": "Completions of the model", "tail-patch": "Tail-patch"}


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job in words."""

    title: str
    state: str
    words: str
    """Its state, for everyone."""
    stage: str | None
    """What a running job is at, or what a waiting one waits for."""
    share: float | None
    """Of the stage; None unless it runs."""
    left: str | None
    """How long it will take, about."""
    error: str | None
    url: str | None
    """Its own list, where it is done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion that can be chosen."""

    text: str
    probability: float | None
    greedy: bool
    drawn: int
    """How many of the samples it was."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that passages could stand behind."""
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, as the ask keeps it."""

    prompt: str
    completion: str | None
    methods: list[str]
    task: str | None
    k: int
    query_set: str | None
    samples: int | None

    @property
    def pieces(self) -> tuple[str, str, str]:
        """Prompt and completion as pages show them."""
        return prompt_pieces(self.prompt, self.completion or "")

    @property
    def again(self) -> str:
        """The form filled in with it."""
        model = {"by": "model", "samples": self.samples} if self.completion is None else {}
        k = {} if self.k == K else {"k": self.k}
        methods = {"method": ",".join(self.methods) or None}
        return ask_address(self.prompt, self.completion, self.task, self.query_set, **methods, **k, **model)


@dataclass(frozen=True, slots=True)
class AskedPage:
    """Everything that the page of an ask shows."""

    id: str
    asked: Asked
    state: str
    headline: str
    jobs: list[JobLine]
    is_open: bool
    may_cancel: bool
    """Whether it is open and this reader's own."""
    waits_for_worker: bool
    answers: list[Answer] | None
    """What the model says, to choose from; None for other asks and until it is there."""
    choosable: int | None
    """Which of them is chosen at first; None: a completion of one's own."""
    arrive: str | None
    """Where a finished ask leads by itself."""
    result: str | None
    """What there is to see, also where something else failed."""
    question: str | None
    """The asked prompt whose list is measured."""


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """One of a reader's own questions."""

    id: str
    kind: str
    asked: Asked
    methods: str
    state: str
    words: str
    at: datetime
    url: str


@dataclass(frozen=True, slots=True)
class QuestionList:
    """A page of a reader's own questions."""

    rows: list[QuestionRow]
    earlier: str | None
    later: str | None


def read_page(session: Session, ask_id: str, reader: str | None) -> AskedPage | None:
    """The page of an ask as a reader (their hash) sees it; None if there is none."""
    found = find_ask(session, ask_id)
    if found is None:
        return None
    return build_page(found, live_workers(session) if is_open(found) else [], is_own=may_cancel(found, reader))


def may_cancel(found: AskView, reader: str | None) -> bool:
    """Whether an ask is this reader's own: whoever has its address may look, and nobody else may cancel it."""
    return found.reader is not None and found.reader == reader


def build_page(found: AskView, workers: Collection[Worker], *, is_own: bool) -> AskedPage:
    """The page of an ask."""
    loading = {worker.message for worker in workers if worker.state == "loading"}
    waits = is_open(found)
    answers = _answers(found)
    return AskedPage(
        id=found.id,
        asked=asked_of(found.parameters),
        state=found.state,
        headline=_headline(found),
        jobs=[_line(job, loading) for job in found.jobs],
        is_open=waits,
        may_cancel=waits and is_own,
        waits_for_worker=waits and not workers,
        answers=answers,
        choosable=next((n for n, answer in enumerate(answers or []) if not answer.is_empty), None),
        arrive=arrival(found),
        result=result_of(found),
        question=found.parameters.get("slug"),
    )


def asked_of(parameters: dict[str, Any]) -> Asked:
    """What was asked, whether by the page, the API or the command line."""
    methods = parameters.get("methods") or [parameters.get("method")]
    return Asked(
        prompt=parameters.get("prompt") or "",
        completion=parameters.get("completion"),
        methods=[method for method in methods if isinstance(method, str)],
        task=parameters.get("task"),
        k=parameters.get("k") or K,
        query_set=parameters.get("query_set"),
        samples=parameters.get("samples"),
    )


def is_open(found: AskView) -> bool:
    """Whether its reader waits for something."""
    return found.cancelled_at is None and any(job.is_open for job in found.jobs)


def arrival(found: AskView) -> str | None:
    """Where a finished ask leads by itself: nowhere while something is open, was cancelled, or failed."""
    if found.cancelled_at is not None or any(job.state != "done" for job in found.jobs):
        return None
    return result_of(found)


def result_of(found: AskView) -> str | None:
    """The permalink of what was ranked, with as many passages as were asked for."""
    if found.result_url is None:
        return None
    runs, slug = found.parameters.get("runs"), found.parameters.get("slug")
    if runs and slug:  # a list was measured: back to the page where it stands beside others
        return f"{prompt_address(slug, tuple(runs))}#tail-patch-{found.jobs[0].run_id}"
    k = asked_of(found.parameters).k
    return address(found.result_url, {} if k == K else {"k": k})


def asked_json(found: AskView) -> dict[str, Any]:
    """The twin of an ask's page."""
    return {
        "id": found.id,
        "state": found.state,
        "created_at": found.created_at.isoformat(),
        "asked": dict(found.parameters),
        "jobs": [
            {
                "id": job.id,
                "kind": job.kind,
                "method": job.method,
                "state": job.state,
                "stage": job.stage or None,
                "progress": job.progress,
                "position": job.position,
                "seconds_left": job.seconds_left,
                "error": job.error,
                "result": job.result,
                "result_url": job.result_url,
            }
            for job in found.jobs
        ],
        "result_url": result_of(found),
    }


def own_questions(session: Session, reader: str | None, page: int) -> QuestionList:
    """A page of the questions of a reader (by the hash of their cookie), newest first."""
    asks = [] if reader is None else asks_of(session, reader, page * PAGE + 1)[(page - 1) * PAGE :]
    return QuestionList(
        rows=[_row(found) for found in asks[:PAGE]],
        earlier=address("/questions", {"page": page + 1}) if len(asks) > PAGE else None,
        later=address("/questions", {"page": page - 1} if page > 2 else {}) if page > 1 else None,
    )


def questions_json(page: QuestionList) -> dict[str, Any]:
    """The twin of the list."""
    items = [
        {
            "id": row.id,
            "kind": row.kind,
            "prompt": row.asked.prompt,
            "completion": row.asked.completion,
            "methods": row.asked.methods,
            "task": row.asked.task,
            "k": row.asked.k,
            "state": row.state,
            "created_at": row.at.isoformat(),
            "url": row.url,
        }
        for row in page.rows
    ]
    return {"items": items, "next": page.earlier and page.earlier.replace("/questions", "/questions.json", 1)}


def _row(found: AskView) -> QuestionRow:
    kind = found.jobs[0].kind if found.jobs else "rank"
    titles = [method_text(job.method).title for job in found.jobs if job.method]
    words = {"complete": "the model’s completions to choose from", "tail-patch": f"tail-patch of {', '.join(titles)}"}
    state = STATES[found.state]
    if found.state == "done" and kind == "complete":
        state = "choose a completion"
    elif found.state == "done" and any(job.state == "failed" for job in found.jobs):
        state = "answered in part"
    return QuestionRow(
        id=found.id,
        kind=kind,
        asked=asked_of(found.parameters),
        methods=words.get(kind, ", ".join(titles)),
        state=found.state,
        words=state,
        at=found.created_at,
        url=arrival(found) or f"/jobs/{found.id}",
    )


def _headline(found: AskView) -> str:
    kind = found.jobs[0].kind if found.jobs else "rank"
    done = {"complete": "The model has completed the prompt", "tail-patch": "The list is measured"}
    if found.state == "queued":
        return "Your question waits"
    if found.state == "running":
        return "Your question is being answered"
    if found.state == "cancelled":
        return "Your question was cancelled"
    if found.state == "failed":
        return "Your question could not be answered"
    if any(job.state == "failed" for job in found.jobs):
        return "Part of your question could not be answered"
    return done.get(kind, "Your question is answered")


def _line(job: JobView, loading: Collection[str]) -> JobLine:
    title = method_text(job.method).title if job.method else "Ranking"
    if job.kind in KINDS:
        title = f"{KINDS[job.kind]}, {title}" if job.method else KINDS[job.kind]
    words, stage = STATES[job.state], None
    if job.state == "running":
        stage = STAGES.get(job.stage, job.stage)
    elif job.state == "queued":
        words = "waiting, next in line" if (job.position or 1) == 1 else f"waiting, number {job.position} in line"
        stage = STAGES["loading"] if {job.run_id, job.model_id} & {*loading} else None
    seconds = None if job.seconds_left is None else max(1, round(job.seconds_left))
    return JobLine(
        title=title,
        state=job.state,
        words=words,
        stage=stage,
        share=job.progress if job.state == "running" else None,
        left=None if seconds is None else f"{seconds} s" if seconds < 60 else duration(seconds),
        error=job.error if job.state == "failed" else None,
        url=job.result_url,
    )


def _answers(found: AskView) -> list[Answer] | None:
    """The model's completions, equal ones folded; None where there are none yet."""
    job = next((job for job in found.jobs if job.kind == "complete" and job.state == "done"), None)
    if job is None or found.cancelled_at is not None:
        return None
    result = job.result or {}
    samples: Sequence[dict[str, Any]] = result.get("samples", [])
    greedy: dict[str, Any] | None = result.get("greedy")
    texts = dict.fromkeys(given["text"] for given in (*([greedy] if greedy else []), *samples))
    drawn = [sample["text"] for sample in samples]
    chances = {given["text"]: given["probability"] for given in (*samples, *([greedy] if greedy else []))}
    return [
        Answer(text, chances[text], greedy is not None and greedy["text"] == text, drawn.count(text)) for text in texts
    ]
