"""Tables of stored metrics: a row for each task and bucket, a column for each metric."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.tasks_text import task_order, task_text
from backend.catalogue.runs import MetricRow
from backend.core.metrics import BUCKETS, TAIL_PATCH_DEPTHS

METRIC_TITLES = {
    "mrr": "MRR",
    "recall_at_10": "Recall@10",
    "precision_at_1": "Precision@1",
    "precision_at_10": "Precision@10",
    "tail_patch_1": "Tail-patch@1",
    "tail_patch_3": "@3",
    "tail_patch_5": "@5",
    "tail_patch": "@10",
    "lds": "LDS",
}
"""Name -> title, in the order of the columns; others follow by name."""


@dataclass(frozen=True, slots=True)
class MetricLine:
    """The metrics of one task and bucket."""

    task: str
    task_title: str
    bucket: str
    n: int
    values: list[float | None]
    tail_patch_n: int | None
    """How many prompts tail-patch was measured for; None where it was not."""


@dataclass(frozen=True, slots=True)
class MetricTable:
    """All metrics of a run."""

    titles: list[str]
    names: list[str]
    lines: list[MetricLine]
    has_tail_patch: bool


def metric_table(rows: Iterable[MetricRow]) -> MetricTable:
    """The table of one run's metrics; tasks in their usual order, all buckets together first."""
    cells: dict[tuple[str, str], dict[str, MetricRow]] = {}
    for row in rows:
        cells.setdefault((row.task, row.bucket), {})[row.name] = row
    known = list(METRIC_TITLES)
    names = sorted(
        {name for cell in cells.values() for name in cell},
        key=lambda name: (known.index(name) if name in known else len(known), name),
    )

    def order(key: tuple[str, str]) -> Any:
        task, bucket = key
        return (task != "", task_order(task), BUCKETS.index(bucket) if bucket in BUCKETS else -1)

    lines = []
    for key in sorted(cells, key=order):
        task, bucket = key
        cell = cells[key]
        patched = [row.n for name, row in cell.items() if name in TAIL_PATCH_DEPTHS]
        others = [row.n for name, row in cell.items() if name not in TAIL_PATCH_DEPTHS]
        lines.append(
            MetricLine(
                task=task,
                task_title=task_text(task).title if task else "All tasks",
                bucket=bucket,
                n=max(others or patched),
                values=[cell[name].value if name in cell else None for name in names],
                tail_patch_n=max(patched, default=None),
            )
        )
    titles = [METRIC_TITLES.get(name, name.replace("_", " ")) for name in names]
    return MetricTable(titles, names, lines, any(line.tail_patch_n is not None for line in lines))


def metrics_json(table: MetricTable) -> list[dict[str, Any]]:
    """The table's lines; task and bucket are null for all."""
    return [
        {
            "task": line.task or None,
            "bucket": line.bucket or None,
            "n": line.n,
            **dict(zip(table.names, line.values, strict=True)),
            **({} if line.tail_patch_n is None else {"tail_patch_n": line.tail_patch_n}),
        }
        for line in table.lines
    ]
