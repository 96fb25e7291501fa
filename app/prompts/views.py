"""The list of prompts: what its template shows and what its JSON twin and its exports hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.http.formats import address
from app.http.parameters import FieldError
from app.methods_text import method_order, method_text
from app.prompts.facets import Chip, Facet, Preset, chips_of, facets_of, presets, total_of
from app.prompts.highlight import prompt_pieces
from app.prompts.parameters import DEFAULT_METHODS, FILTERS, LIMIT, ListedParameters, ListParameters
from app.tasks_text import task_text
from backend.catalogue import prompt_lists as catalogue
from backend.catalogue.models import Output, Prompt
from backend.catalogue.prompt_lists import MeanMetrics, PromptOrder
from backend.catalogue.runs import RunSummary, current_runs

SORTS: dict[str, str] = {
    "order": "as loaded",
    "most-confident": "most confident first",
    "least-confident": "least confident first",
    "most-stated": "most often stated first",
    "least-stated": "least often stated first",
    "best-traced": "best traced by TrackStar first",
    "worst-traced": "worst traced by TrackStar first",
}
TRACED_BY = "trackstar"
EXPORT_BATCH = 500
MOST_ROWS = 100
"""Prompts on a page of the HTML list, whatever is asked for: a page stays below 100 kB."""


class UnknownCursor(Exception):
    """The prompt that a page should start behind is not there."""

    error = FieldError("after", "names no prompt of this installation")


@dataclass(frozen=True, slots=True)
class FirstRank:
    """Where a method ranks the first passage that states the fact; rank None: not among the stored ones."""

    method: str
    title: str
    rank: int | None


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt in the list."""

    url: str
    task: str
    task_title: str
    relation: str | None
    bucket: str | None
    pieces: tuple[str, str, str]
    output: Output | None
    first_ranks: list[FirstRank]


@dataclass(frozen=True, slots=True)
class MetricsRow:
    """A method's means over the filtered prompts."""

    method: str
    title: str
    means: MeanMetrics


@dataclass(frozen=True, slots=True)
class SortChoice:
    """An order of the list."""

    value: str
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class PromptList:
    """One page of the filtered list."""

    q: str | None
    rows: list[PromptRow]
    total: int
    everything: int
    facets: list[Facet]
    chips: list[Chip]
    presets: list[Preset]
    sorts: list[SortChoice]
    metrics: list[MetricsRow]
    has_tail_patch: bool
    limit: int
    canonical: str
    first: str | None
    next: str | None
    random: str
    exports: list[tuple[str, str]]
    pool: str
    """Where a pool to judge is made of these prompts."""


def build_list(session: Session, asked: ListParameters) -> PromptList:
    """The page that the parameters ask for; raises UnknownCursor."""
    asked = asked.model_copy(update={"limit": min(asked.limit, MOST_ROWS)})
    found = _fetch(session, asked)
    listed = asked.list_address
    limit = {} if asked.limit == LIMIT else {"limit": asked.limit}
    metrics = [
        MetricsRow(method, method_text(method).title, means)
        for method, means in sorted(found.metrics.items(), key=lambda item: method_order(item[0]))
    ]
    return PromptList(
        q=asked.q,
        rows=[_row(found, prompt, listed) for prompt in found.prompts],
        total=found.total,
        everything=sum(facet.count for facet in catalogue.facets(session)) if asked.q else found.everything,
        facets=facets_of(found.facets, asked),
        chips=chips_of(asked),
        presets=presets(asked),
        sorts=[SortChoice(value, label, value == asked.sort) for value, label in SORTS.items()],
        metrics=metrics,
        has_tail_patch=any(row.means.tail_patch is not None for row in metrics),
        limit=asked.limit,
        canonical=address("/prompts", {**listed, **limit, "after": asked.after}),
        first=address("/prompts", {**listed, **limit}) if asked.after else None,
        next=address("/prompts", {**listed, **limit, "after": found.after}) if found.after else None,
        random=address("/prompts/random", listed),
        exports=[(kind, address(f"/prompts.{kind.lower()}", listed)) for kind in ("JSON", "CSV", "JSONL")],
        pool=address("/annotate/pools/new", asked.model_dump(include={*FILTERS}, exclude_none=True)),
    )


def list_json(session: Session, asked: ListParameters, path: str = "/prompts.json") -> dict[str, Any]:
    """The same page as JSON; ``path`` is the address that ``next`` continues."""
    found = _fetch(session, asked)
    rest = {**asked.list_address, "limit": asked.limit}
    return {
        "items": [_item(found, prompt) for prompt in found.prompts],
        "next": address(path, {**rest, "after": found.after}) if found.after else None,
        "total": found.total,
        "metrics": {
            method: asdict(means)
            for method, means in sorted(found.metrics.items(), key=lambda item: method_order(item[0]))
        },
    }


@dataclass(frozen=True, slots=True)
class _Rows:
    """Prompts and what is shown beside each."""

    prompts: Sequence[Prompt]
    runs: dict[str, RunSummary]
    outputs: dict[int, Output]
    rankings: dict[int, list[Any]]


@dataclass(frozen=True, slots=True)
class _Found(_Rows):
    """Everything behind one page of the list."""

    after: str | None
    total: int
    everything: int
    facets: list[catalogue.FacetCount]
    metrics: dict[str, MeanMetrics]


def _order(asked: ListedParameters, runs: Iterable[RunSummary]) -> PromptOrder:
    return catalogue.order_of(asked.sort, [run.id for run in runs if run.method == TRACED_BY])


def _rows(session: Session, prompts: Sequence[Prompt], runs: dict[str, RunSummary]) -> _Rows:
    rankings: dict[int, list[Any]] = {}
    for ranking in catalogue.rankings_of(session, [prompt.pk for prompt in prompts], runs):
        rankings.setdefault(ranking.prompt_pk, []).append(ranking)
    return _Rows(prompts, runs, catalogue.answers_of(session, prompts), rankings)


def _fetch(session: Session, asked: ListParameters) -> _Found:
    runs = {run.id: run for run in current_runs(session)}
    order = _order(asked, runs.values())
    after = None
    if asked.after is not None:
        after = catalogue.place_of(session, asked.after, order)
        if after is None:
            raise UnknownCursor
    facets = catalogue.facets(session, asked.q)
    prompts = catalogue.page_of_prompts(session, asked.wanted, order, after, asked.limit + 1)
    more, prompts = len(prompts) > asked.limit, prompts[: asked.limit]
    rows = _rows(session, prompts, runs)
    return _Found(
        prompts=prompts,
        runs=runs,
        outputs=rows.outputs,
        rankings=rows.rankings,
        after=prompts[-1].slug if more else None,
        total=total_of(facets, asked),
        everything=sum(facet.count for facet in facets),
        facets=facets,
        metrics=catalogue.mean_metrics(session, asked.wanted, runs),
    )


def list_neighbours(session: Session, slug: str, asked: ListedParameters) -> tuple[str | None, str | None] | None:
    """Slugs of the prompts before and behind one in the list that it was opened from; None if it is not of it."""
    runs = current_runs(session) if asked.sort.endswith("traced") else []
    return catalogue.neighbours(session, slug, asked.wanted, _order(asked, runs))


def export_columns(session: Session) -> list[str]:
    """The columns of the list as CSV."""
    methods = sorted({run.method for run in current_runs(session)}, key=method_order)
    return [
        *("slug", "url", "task", "relation", "bucket", "frequency", "prompt", "completion", "subject", "object"),
        *("output.text", "output.probability", "output.correct"),
        *(f"metrics.{method}.{name}" for method in methods for name in ("run", *METRICS)),
    ]


def export_rows(session: Session, asked: ListedParameters) -> Iterator[dict[str, Any]]:
    """Every prompt of the filtered list, in its order, as items of the JSON twin."""
    runs = {run.id: run for run in current_runs(session)}
    for prompts in catalogue.every_prompt(session, asked.wanted, _order(asked, runs.values()), EXPORT_BATCH):
        found = _rows(session, prompts, runs)
        for prompt in prompts:
            yield _item(found, prompt)


def output_of(outputs: Sequence[Output], models: Iterable[str | None]) -> Output | None:
    """The output of the first of these models that has one, else any."""
    by_model = {output.model_id: output for output in outputs}
    named = (by_model[model] for model in models if model in by_model)
    return next(named, outputs[-1] if outputs else None)


def _ranked(found: _Rows, prompt: Prompt) -> list[tuple[str, Any]]:
    pairs = [(found.runs[ranking.run_id].method, ranking) for ranking in found.rankings.get(prompt.pk, [])]
    return sorted(pairs, key=lambda pair: method_order(pair[0]))


def first_rank(reciprocal_rank: float) -> int | None:
    """The rank behind a reciprocal rank; None for 0."""
    return round(1 / reciprocal_rank) if reciprocal_rank > 0 else None


LINE = 300
"""Characters of a prompt that the list shows."""


def _row(found: _Rows, prompt: Prompt, listed: dict[str, object]) -> PromptRow:
    ranked = [pair for pair in _ranked(found, prompt) if pair[1].reciprocal_rank is not None]
    shown = [pair for pair in ranked if pair[0] in DEFAULT_METHODS] or ranked[:2]
    before, space, completion = prompt_pieces(prompt.prompt, prompt.completion)
    before = f"…{before[-LINE:]}" if len(before) > LINE else before
    completion = f"{completion[:LINE]}…" if len(completion) > LINE else completion
    return PromptRow(
        url=address(f"/prompts/{prompt.slug}", listed),
        task=prompt.task,
        task_title=task_text(prompt.task).title,
        relation=prompt.relation,
        bucket=prompt.bucket,
        pieces=(before, space, completion),
        output=found.outputs.get(prompt.pk),
        first_ranks=[
            FirstRank(method, method_text(method).title, first_rank(ranking.reciprocal_rank))
            for method, ranking in shown
        ],
    )


def prompt_fields(prompt: Prompt) -> dict[str, Any]:
    """What every JSON of a prompt begins with."""
    return {
        "slug": prompt.slug,
        "task": prompt.task or None,
        "prompt": prompt.prompt,
        "completion": prompt.completion,
        "relation": prompt.relation,
        "subject": prompt.subject,
        "object": prompt.object,
        "frequency": prompt.frequency,
        "bucket": prompt.bucket,
    }


METRICS = ("reciprocal_rank", "recall_at_10", "precision_at_1", "precision_at_10", "tail_patch")


def _item(found: _Rows, prompt: Prompt) -> dict[str, Any]:
    output = found.outputs.get(prompt.pk)
    return {
        **prompt_fields(prompt),
        "url": f"/prompts/{prompt.slug}",
        "output": None
        if output is None
        else {"text": output.text, "probability": output.probability, "correct": output.correct},
        "metrics": {
            method: {"run": ranking.run_id, **{name: getattr(ranking, name) for name in METRICS}}
            for method, ranking in _ranked(found, prompt)
        },
    }
