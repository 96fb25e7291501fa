"""The same means over parts of the prompts: by frequency, by task, by right and wrong answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.charts import Lines, lines
from app.methods_text import MethodText, method_order, method_text
from app.tasks_text import task_order, task_text
from backend.catalogue.prompt_lists import MeanMetrics
from backend.core.metrics import BUCKETS

METRICS = {"mrr": "mrr", "tail-patch": "tail_patch"}
"""Value of the parameter ``metric`` -> key of a row."""

METRIC_TITLES = {"mrr": "MRR", "tail-patch": "Tail-patch, percentage points"}


@dataclass(frozen=True, slots=True)
class Grid:
    """A row a method, a column a part of the prompts."""

    columns: list[str]
    counts: list[int]
    """How many prompts are in each column."""
    rows: list[tuple[MethodText, list[float | None]]]
    chart: Lines | None = None


def over_all_facts(retrieval: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Method -> its row of `evaluate`'s table over all facts."""
    return {row["method"]: row for row in retrieval if row["task"] == "facts" and row["bucket"] is None}


def by_bucket(retrieval: Sequence[Mapping[str, Any]], metric: str, drawn: Sequence[str]) -> Grid | None:
    """Facts by how many passages state them; None where nothing is."""
    cells = {
        (row["method"], row["bucket"]): row for row in retrieval if row["task"] == "facts" and row["bucket"] is not None
    }
    buckets = [bucket for bucket in BUCKETS if any(key[1] == bucket for key in cells)]
    if not buckets:
        return None
    methods = _methods(cells)
    rows = {slug: [cells.get((slug, bucket), {}).get(METRICS[metric]) for bucket in buckets] for slug in methods}
    return Grid(
        columns=[bucket.replace("-", "–") for bucket in buckets],
        counts=[max(row["n"] for (_, own), row in cells.items() if own == bucket) for bucket in buckets],
        rows=[(method_text(slug), values) for slug, values in rows.items()],
        chart=lines(
            [(method_text(slug).title, style, rows[slug]) for style, slug in enumerate(drawn) if slug in rows],
            [bucket.replace("-", "–") for bucket in buckets],
        ),
    )


def by_task(retrieval: Sequence[Mapping[str, Any]], metric: str) -> Grid | None:
    """All tasks that have prompts which passages state; None where facts are the only one."""
    cells = {(row["method"], row["task"]): row for row in retrieval if row["bucket"] is None}
    tasks = sorted({task for _, task in cells}, key=task_order)
    if len(tasks) < 2:
        return None
    return Grid(
        columns=[task_text(task).title for task in tasks],
        counts=[max(row["n"] for (_, own), row in cells.items() if own == task) for task in tasks],
        rows=[
            (method_text(slug), [cells.get((slug, task), {}).get(METRICS[metric]) for task in tasks])
            for slug in _methods(cells)
        ],
    )


def by_answer(right: Mapping[str, MeanMetrics], wrong: Mapping[str, MeanMetrics], metric: str) -> Grid | None:
    """Facts that the model answers rightly and wrongly; None where one of them is empty."""
    if not right or not wrong:
        return None

    def values(slug: str) -> list[float | None]:
        return [getattr(means[slug], METRICS[metric]) if slug in means else None for means in (right, wrong)]

    return Grid(
        columns=["Right answers", "Wrong answers"],
        counts=[max(one.n for one in means.values()) for means in (right, wrong)],
        rows=[(method_text(slug), values(slug)) for slug in sorted({*right, *wrong}, key=method_order)],
    )


def _methods(cells: Mapping[tuple[str, Any], Any]) -> list[str]:
    return sorted({slug for slug, _ in cells}, key=method_order)


def answers_json(right: Mapping[str, MeanMetrics], wrong: Mapping[str, MeanMetrics]) -> list[dict[str, Any]]:
    """The means over right and wrong answers, by method."""
    return [
        {
            "method": slug,
            "correct": correct,
            "n": one.n,
            "mrr": one.mrr,
            "recall_at_10": one.recall_at_10,
            "tail_patch": one.tail_patch,
        }
        for correct, means in ((True, right), (False, wrong))
        for slug, one in sorted(means.items(), key=lambda pair: method_order(pair[0]))
    ]
