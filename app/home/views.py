"""The home page: what its template shows and what its JSON twin holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.home.progress import Progress, progress_of
from app.methods_text import MethodText, method_order, method_text
from app.prompts.highlight import Segment, excerpt, prompt_pieces
from app.runs.views import summary_json
from app.tasks_text import TaskText, task_order, task_text
from backend.catalogue import home as catalogue
from backend.catalogue.home import Example
from backend.catalogue.prompt_lists import MeanMetrics, PromptFilter, mean_metrics
from backend.catalogue.runs import RunSummary, count_runs, current_runs
from backend.catalogue.stages import list_stages

EXAMPLES = 3
EXAMPLE_METHODS = ("trackstar", "trackstar-general", "gradient-cosine")
"""Methods whose first proponent an example shows, in order of preference."""


@dataclass(frozen=True, slots=True)
class TaskCount:
    """A task and its number of prompts."""

    text: TaskText
    count: int


@dataclass(frozen=True, slots=True)
class Live:
    """What changes while stages run."""

    passages: int
    prompts: int
    runs: int
    tasks: list[TaskCount]
    progress: Progress


@dataclass(frozen=True, slots=True)
class ShownExample:
    """A striking example."""

    example: Example
    method: MethodText
    pieces: tuple[str, str, str]
    passage: list[Segment]
    cut: bool


@dataclass(frozen=True, slots=True)
class MethodLine:
    """A method's means over the fact prompts."""

    text: MethodText
    means: MeanMetrics


@dataclass(frozen=True, slots=True)
class HomePage:
    """Everything that the home page shows."""

    live: Live
    examples: list[ShownExample]
    methods: list[MethodLine]


def live_part(session: Session) -> Live:
    """Counts and progress."""
    by_task = catalogue.prompts_by_task(session)
    return Live(
        passages=catalogue.passage_total(session),
        prompts=sum(by_task.values()),
        runs=count_runs(session),
        tasks=[TaskCount(task_text(task), by_task[task]) for task in sorted(by_task, key=task_order)],
        progress=progress_of(list_stages(session)),
    )


def home_page(session: Session) -> HomePage:
    """The whole page."""
    runs = current_runs(session)
    means = mean_metrics(session, PromptFilter(task="facts"), [run.id for run in runs])
    return HomePage(
        live=live_part(session),
        examples=_examples(session, runs),
        methods=[MethodLine(method_text(method), means[method]) for method in sorted(means, key=method_order)],
    )


def home_json(session: Session) -> dict[str, Any]:
    """Counts, examples, metrics and progress."""
    page = home_page(session)
    live = page.live
    unfinished = [pipeline for pipeline in live.progress.open if pipeline.name == "demo"]
    demo_done = any(pipeline.name == "demo" for pipeline in live.progress.done)
    stage = unfinished[0].current if unfinished else None
    return {
        "passages": live.passages,
        "prompts": {"total": live.prompts, "by_task": {task.text.slug: task.count for task in live.tasks}},
        "runs": [summary_json(run) for run in current_runs(session)],
        "demo": {"complete": demo_done and not unfinished, "stage": stage.title if stage else None},
        "methods": {line.text.slug: asdict(line.means) for line in page.methods},
        "examples": [
            {
                "slug": shown.example.slug,
                "url": f"/prompts/{shown.example.slug}",
                "prompt": shown.example.prompt,
                "completion": shown.example.completion,
                "output": {"text": shown.example.output, "probability": shown.example.probability},
                "method": shown.method.slug,
                "run": shown.example.run_id,
                "passage_id": shown.example.passage_id,
            }
            for shown in page.examples
        ],
    }


def _examples(session: Session, runs: list[RunSummary]) -> list[ShownExample]:
    """Facts that are right, confident and traced, no two of one relation while there are others."""
    method = next((slug for slug in EXAMPLE_METHODS if any(run.method == slug for run in runs)), None)
    if method is None:
        return []
    run_ids = [run.id for run in runs if run.method == method]
    found = catalogue.traced_facts(session, run_ids, 60)
    first_of_relation = list({example.relation: example for example in reversed(found)}.values())[::-1]
    rest = [example for example in found if example not in first_of_relation]
    return [_shown(example, method_text(method)) for example in (first_of_relation + rest)[:EXAMPLES]]


def _shown(example: Example, method: MethodText) -> ShownExample:
    names = [("completion", [example.completion.strip().strip(".").strip()])]
    part = excerpt(example.passage_text, names, limit=220)
    pieces = prompt_pieces(example.prompt, example.completion)
    return ShownExample(example, method, pieces, part.segments, part.cut_behind)
