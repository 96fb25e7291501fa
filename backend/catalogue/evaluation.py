"""Tables over runs, and what the installation holds: the values of `evaluate --json` and `status --json`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.catalogue.left_out import base_of_model
from backend.catalogue.loading_runs import RETRIEVAL_METRICS
from backend.catalogue.models import Measurement, Metric, Model, Passage, Prompt, Run
from backend.catalogue.stages import list_stages
from backend.core.artifacts import Home
from backend.core.metrics import BUCKETS
from backend.core.records import TASKS

TAIL_PATCH = "tail_patch"
"""The metric that stands for a list: the mean over its first ten passages."""

LDS = {"lds": "lds", "lds_low": "low", "lds_high": "high"}
"""Key of a row of the table -> field of the measurement's row; low and high bound its 95% interval over queries."""

DEMO = "demo"
"""The pipeline of the bundled demonstration."""


def newest_runs(session: Session, methods: Collection[str] = (), query_set_id: str | None = None) -> list[str]:
    """Ids of the newest run of each (method, query set), of these methods or of all, of one query set or of all.

    Those of models that were trained without some passages are passed over.
    """
    newest: dict[tuple[str, str], str] = {}
    statement = (
        select(Run.method, Run.query_set_id, Run.id)
        .outerjoin(Model, Model.id == Run.model_id)
        .where(base_of_model().is_(None))
        .order_by(Run.created_at, Run.id)
    )
    if query_set_id is not None:
        statement = statement.where(Run.query_set_id == query_set_id)
    for method, query_set_id, run_id in session.execute(statement):
        if not methods or method in methods:
            newest[method, query_set_id] = run_id
    return list(newest.values())


def retrieval_table(
    session: Session,
    methods: Collection[str] = (),
    tasks: Collection[str] = (),
    query_set_id: str | None = None,
) -> list[dict[str, Any]]:
    """Mean retrieval metrics by method, task and bucket (None: all), over the newest runs of one or all query sets.

    ``n`` counts the queries that some passage entails; cells without any are left out. Once tail-patch is measured for
    some run of these, rows have "tail_patch" too: its mean over the queries measured, None where none is. Once the
    linear datamodeling score is measured, they have "lds", "lds_low" and "lds_high": the newest measurement's.
    """
    statement = (
        select(Run.method, Metric.task, Metric.bucket, Metric.name, Metric.value, Metric.n)
        .join(Run, Run.id == Metric.run_id)
        .where(
            Run.id.in_(newest_runs(session, methods, query_set_id)),
            Metric.task != "",
            Metric.name.in_([*RETRIEVAL_METRICS, TAIL_PATCH]),
        )
    )
    sums: dict[tuple[str, str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    patches: dict[tuple[str, str, str], tuple[float, int]] = {}
    for method, task, bucket, name, value, n in session.execute(statement):
        if tasks and task not in tasks:
            continue
        if name == TAIL_PATCH:
            total, measured = patches.get((method, task, bucket), (0.0, 0))
            patches[method, task, bucket] = total + value * n, measured + n
        else:
            sums[method, task, bucket][name] += value * n
            counts[method, task, bucket] += n if name == "mrr" else 0

    datamodeling = _lds_rows(session, query_set_id)

    def patched(cell: tuple[str, str, str]) -> dict[str, float | None]:
        total, measured = patches.get(cell, (0.0, 0))
        return {TAIL_PATCH: total / measured if measured else None} if patches else {}

    def correlated(cell: tuple[str, str, str]) -> dict[str, float | None]:
        row = datamodeling.get(cell, {})
        return {key: row.get(field) for key, field in LDS.items()} if datamodeling else {}

    return [
        {
            "method": method,
            "task": task,
            "bucket": bucket or None,
            "n": counts[method, task, bucket],
            **{name: sums[method, task, bucket][name] / counts[method, task, bucket] for name in RETRIEVAL_METRICS},
            **patched((method, task, bucket)),
            **correlated((method, task, bucket)),
        }
        for method, task, bucket in sorted(sums, key=_reading_order)
    ]


def _lds_rows(session: Session, query_set_id: str | None) -> dict[tuple[str, str, str], dict[str, Any]]:
    """(method, task, bucket) -> row of the newest LDS measurement that has it, of one query set or of all."""
    statement = select(Measurement.manifest).where(Measurement.what == "lds")
    if query_set_id is not None:
        statement = statement.where(Measurement.query_set_id == query_set_id)
    oldest_first = session.scalars(statement.order_by(Measurement.created_at, Measurement.id))
    return {
        (row["method"], row["task"], row["bucket"]): row
        for manifest in oldest_first
        for row in manifest["facts"].get("rows", ())
    }


def _reading_order(cell: tuple[str, str, str]) -> tuple[str, int, str, int]:
    method, task, bucket = cell
    place = TASKS.index(task) if task in TASKS else len(TASKS)
    return method, place, task, BUCKETS.index(bucket) if bucket in BUCKETS else -1


def status(session: Session, home: Home) -> dict[str, Any]:
    """What the installation holds: the value of `proponent status --json`."""
    statement = select(Prompt.task, func.count()).where(Prompt.asked.is_(False)).group_by(Prompt.task)
    by_task = {task: count for task, count in session.execute(statement)}
    runs = select(Run.id, Run.method, Run.model_id, Run.corpus_id).order_by(Run.created_at, Run.id)
    return {
        "home": str(home.root.absolute()),
        "passages": session.scalar(select(func.count()).select_from(Passage)) or 0,
        "prompts": {
            "total": sum(by_task.values()),
            "by_task": {
                task: by_task[task] for task in sorted(by_task, key=lambda task: _reading_order(("", task, "")))
            },
        },
        "runs": [
            {"id": run_id, "method": method, "model": model, "corpus": corpus}
            for run_id, method, model, corpus in session.execute(runs)
        ],
        "demo": _demo(session),
    }


def _demo(session: Session) -> dict[str, Any]:
    """Whether the demonstration is whole, else the title of the stage that it is at."""
    stages = list_stages(session, DEMO)
    complete = bool(stages) and all(stage.state == "done" for stage in stages)
    at = next(
        (stage for state in ("running", "failed", "stopped", "waiting") for stage in stages if stage.state == state),
        None,
    )
    return {"complete": complete, "stage": None if at is None else at.title}
