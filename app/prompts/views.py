"""The list of prompts: what its template shows and what its JSON twin holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.http.formats import address
from app.http.parameters import FieldError
from app.methods_text import method_order, method_text
from app.prompts.highlight import prompt_pieces
from app.prompts.parameters import DEFAULT_METHODS, ListParameters
from app.tasks_text import task_order, task_text
from backend.catalogue import prompts as catalogue
from backend.catalogue.models import Output, Prompt
from backend.catalogue.runs import RunSummary, current_runs
from backend.core.metrics import BUCKETS


class UnknownCursor(Exception):
    """The prompt that a page should start behind is not there."""

    error = FieldError("after", "names no prompt of this installation")


@dataclass(frozen=True, slots=True)
class Option:
    """A choice in a form."""

    value: str
    label: str
    count: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class FirstRank:
    """Where a method ranks the first passage that states the fact; rank None: not among the stored ones."""

    method: str
    title: str
    rank: int | None


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt in the list."""

    slug: str
    task: str
    task_title: str
    relation: str | None
    bucket: str | None
    pieces: tuple[str, str, str]
    output: Output | None
    right: bool | None
    first_ranks: list[FirstRank]


@dataclass(frozen=True, slots=True)
class MetricsRow:
    """A method's means over the filtered prompts."""

    method: str
    title: str
    means: catalogue.MeanMetrics


@dataclass(frozen=True, slots=True)
class PromptList:
    """One page of the filtered list."""

    rows: list[PromptRow]
    total: int
    everything: int
    tasks: list[Option]
    relations: list[Option]
    buckets: list[Option]
    metrics: list[MetricsRow]
    filtered: bool
    limit: int
    canonical: str
    first: str | None
    next: str | None
    random: str


def build_list(session: Session, asked: ListParameters) -> PromptList:
    """The page that the parameters ask for; raises UnknownCursor."""
    found = _fetch(session, asked)
    chosen = asked.model_dump(include={"task", "relation", "bucket"})
    limit = {} if asked.limit == 50 else {"limit": asked.limit}
    return PromptList(
        rows=[_row(found, prompt) for prompt in found.prompts],
        total=found.total,
        everything=sum(facet.count for facet in found.facets),
        tasks=_options(found.facets, asked, "task", lambda slug: task_text(slug).title, task_order),
        relations=_options(found.facets, asked, "relation", str, str),
        buckets=_options(found.facets, asked, "bucket", str, BUCKETS.index),
        metrics=[
            MetricsRow(method, method_text(method).title, means)
            for method, means in sorted(found.metrics.items(), key=lambda item: method_order(item[0]))
        ],
        filtered=any(chosen.values()),
        limit=asked.limit,
        canonical=address("/prompts", {**chosen, **limit, "after": asked.after}),
        first=address("/prompts", {**chosen, **limit}) if asked.after else None,
        next=address("/prompts", {**chosen, **limit, "after": found.after}) if found.after else None,
        random=address("/prompts/random", chosen),
    )


def list_json(session: Session, asked: ListParameters) -> dict[str, Any]:
    """The same page as JSON."""
    found = _fetch(session, asked)
    rest = asked.model_dump(exclude={"after", "limit"})
    return {
        "items": [_item(found, prompt) for prompt in found.prompts],
        "next": address("/prompts.json", {**rest, "limit": asked.limit, "after": found.after}) if found.after else None,
        "total": found.total,
        "metrics": {
            method: asdict(means)
            for method, means in sorted(found.metrics.items(), key=lambda item: method_order(item[0]))
        },
    }


@dataclass(frozen=True, slots=True)
class _Found:
    """Rows behind one page of the list."""

    prompts: list[Prompt]
    after: str | None
    total: int
    facets: list[catalogue.FacetCount]
    runs: dict[str, RunSummary]
    outputs: dict[int, list[Output]]
    rankings: dict[int, list[Any]]
    metrics: dict[str, catalogue.MeanMetrics]


def _fetch(session: Session, asked: ListParameters) -> _Found:
    after_pk = 0
    if asked.after is not None:
        place = catalogue.pk_of_slug(session, asked.after)
        if place is None:
            raise UnknownCursor
        after_pk = place
    facets = catalogue.facets(session)
    prompts = catalogue.page_of_prompts(session, asked.wanted, after_pk, asked.limit + 1)
    more, prompts = len(prompts) > asked.limit, prompts[: asked.limit]
    runs = {run.id: run for run in current_runs(session)}
    pks = [prompt.pk for prompt in prompts]
    rankings: dict[int, list[Any]] = {}
    for ranking in catalogue.rankings_of(session, pks, runs):
        rankings.setdefault(ranking.prompt_pk, []).append(ranking)
    return _Found(
        prompts=prompts,
        after=prompts[-1].slug if more else None,
        total=sum(facet.count for facet in facets if _passes(facet, asked)),
        facets=facets,
        runs=runs,
        outputs=catalogue.outputs_of(session, pks),
        rankings=rankings,
        metrics=catalogue.mean_metrics(session, asked.wanted, runs),
    )


def _passes(facet: catalogue.FacetCount, asked: ListParameters, but: str = "") -> bool:
    return all(
        name == but or getattr(asked, name) in (None, getattr(facet, name)) for name in ("task", "relation", "bucket")
    )


def _options(
    facets: Iterable[catalogue.FacetCount],
    asked: ListParameters,
    name: str,
    label: Callable[[str], str],
    order: Callable[[str], Any],
) -> list[Option]:
    """Choices of one facet, each with the count that choosing it would give."""
    chosen = getattr(asked, name)
    counts: dict[str, int] = {chosen: 0} if chosen is not None else {}
    for facet in facets:
        value = getattr(facet, name)
        if value is not None and _passes(facet, asked, but=name):
            counts[value] = counts.get(value, 0) + facet.count
    values = sorted(counts, key=order)
    return [Option(value, label(value), counts[value], value == chosen) for value in values]


def output_of(outputs: list[Output], models: Iterable[str | None]) -> Output | None:
    """The output of the first of these models that has one, else any."""
    by_model = {output.model_id: output for output in outputs}
    named = (by_model[model] for model in models if model in by_model)
    return next(named, outputs[-1] if outputs else None)


def _ranked(found: _Found, prompt: Prompt) -> list[tuple[str, Any]]:
    pairs = [(found.runs[ranking.run_id].method, ranking) for ranking in found.rankings.get(prompt.pk, [])]
    return sorted(pairs, key=lambda pair: method_order(pair[0]))


def _output(found: _Found, prompt: Prompt) -> Output | None:
    models = [found.runs[ranking.run_id].model_id for _, ranking in _ranked(found, prompt)]
    return output_of(found.outputs.get(prompt.pk, []), models)


def first_rank(reciprocal_rank: float) -> int | None:
    """The rank behind a reciprocal rank; None for 0."""
    return round(1 / reciprocal_rank) if reciprocal_rank > 0 else None


def _row(found: _Found, prompt: Prompt) -> PromptRow:
    ranked = [pair for pair in _ranked(found, prompt) if pair[1].reciprocal_rank is not None]
    shown = [pair for pair in ranked if pair[0] in DEFAULT_METHODS] or ranked[:2]
    output = _output(found, prompt)
    return PromptRow(
        slug=prompt.slug,
        task=prompt.task,
        task_title=task_text(prompt.task).title,
        relation=prompt.relation,
        bucket=prompt.bucket,
        pieces=prompt_pieces(prompt.prompt, prompt.completion),
        output=output,
        right=None if output is None else output.correct,
        first_ranks=[
            FirstRank(method, method_text(method).title, first_rank(ranking.reciprocal_rank))
            for method, ranking in shown
        ],
    )


def prompt_fields(prompt: Prompt) -> dict[str, Any]:
    """What every JSON of a prompt begins with."""
    return {
        "slug": prompt.slug,
        "task": prompt.task,
        "prompt": prompt.prompt,
        "completion": prompt.completion,
        "relation": prompt.relation,
        "subject": prompt.subject,
        "object": prompt.object,
        "bucket": prompt.bucket,
    }


def _item(found: _Found, prompt: Prompt) -> dict[str, Any]:
    output = _output(found, prompt)
    return {
        **prompt_fields(prompt),
        "url": f"/prompts/{prompt.slug}",
        "output": None
        if output is None
        else {"text": output.text, "probability": output.probability, "correct": output.correct},
        "metrics": {
            method: {
                "run": ranking.run_id,
                "reciprocal_rank": ranking.reciprocal_rank,
                "recall_at_10": ranking.recall_at_10,
                "precision_at_1": ranking.precision_at_1,
                "precision_at_10": ranking.precision_at_10,
            }
            for method, ranking in _ranked(found, prompt)
        },
    }
