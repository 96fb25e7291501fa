"""Comparisons: what their templates show and what their JSON twins hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.charts import PairedBars, paired_bars
from app.comparisons.parameters import LIMIT, ChosenParameters, ComparisonListParameters, ComparisonParameters
from app.http.formats import address
from app.http.parameters import FieldError
from app.prompts.highlight import prompt_pieces
from app.tasks_text import task_order, task_text
from backend.catalogue import comparisons as catalogue
from backend.catalogue.comparisons import Cell, Change, Comparison, find_comparison
from backend.catalogue.left_out import left_out_ids
from backend.core.metrics import BUCKETS

NAMED = 3
"""So many slugs an error names."""

STATED_TITLES = {"all": "all left out", "some": "some left out", "none": "none left out"}


@dataclass(frozen=True, slots=True)
class ComparisonList:
    """One page of the list."""

    rows: list[Comparison]
    total: int
    first: str | None
    next: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: some prompts before and after."""

    title: str
    bucket: str
    cell: Cell
    overall: bool


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt before and after."""

    change: Change
    pieces: tuple[str, str, str]
    task_title: str


@dataclass(frozen=True, slots=True)
class ComparisonPage:
    """Everything that the page of a comparison shows."""

    found: Comparison
    sources: list[tuple[str, int, int]]
    cells: dict[tuple[str, str], Cell]
    stated: dict[str, Cell]
    lines: list[Line]
    stated_lines: list[Line]
    charts: list[tuple[str, PairedBars]]
    """(task's title, accuracy of its answers by bucket)."""
    rows: list[PromptRow]
    total: int
    """Prompts of the list."""
    everything: int
    """Prompts that both models answered."""
    q: str | None
    slugs: tuple[str, ...] | None
    unknown: list[str]
    """Chosen slugs that are no prompt which both answered."""
    plain: str
    first: str | None
    next: str | None
    exports: list[tuple[str, str]]


def comparison_list(session: Session, asked: ComparisonListParameters) -> ComparisonList:
    """A page of the list, newest first."""
    rows = catalogue.list_comparisons(session, asked.start, asked.limit)
    total = catalogue.count_comparisons(session)
    limit = {} if asked.limit == ComparisonListParameters().limit else {"limit": asked.limit}
    following = asked.start + asked.limit
    return ComparisonList(
        rows=rows,
        total=total,
        first=address("/comparisons", limit) if asked.start > 1 else None,
        next=address("/comparisons", {**limit, "start": following}) if following <= total else None,
    )


def comparison_list_json(session: Session, asked: ComparisonListParameters) -> dict[str, Any]:
    """The same page as JSON."""
    total = catalogue.count_comparisons(session)
    following = asked.start + asked.limit
    more = address("/comparisons.json", {"limit": asked.limit, "start": following})
    return {
        "items": [summary_json(found) for found in catalogue.list_comparisons(session, asked.start, asked.limit)],
        "next": more if following <= total else None,
        "total": total,
    }


def comparison_page(session: Session, model_id: str, asked: ComparisonParameters) -> ComparisonPage | None:
    """The page of a model that was trained without some passages; None where there is no such model."""
    found = find_comparison(session, model_id)
    if found is None:
        return None
    by_cell, by_stated = catalogue.cells(session, found), catalogue.cells_by_stated(session, found)
    changes = catalogue.list_changes(session, found, asked.wanted, asked.start, asked.limit)
    everything = by_cell["", ""].n if by_cell else 0
    chosen = asked.q is not None or asked.slugs is not None
    total = catalogue.count_changes(session, found, asked.wanted) if chosen else everything
    here = f"/comparisons/{model_id}"
    filters = {"q": asked.q, "prompts": asked.prompts}
    limit = {} if asked.limit == LIMIT else {"limit": asked.limit}
    following = asked.start + asked.limit
    return ComparisonPage(
        found=found,
        sources=catalogue.sources_left_out(session, found),
        cells=by_cell,
        stated=by_stated,
        lines=_lines(by_cell),
        stated_lines=[Line(STATED_TITLES[kind], "", cell, False) for kind, cell in by_stated.items()],
        charts=_charts(by_cell),
        rows=[_row(change) for change in changes],
        total=total,
        everything=everything,
        q=asked.q,
        slugs=asked.slugs,
        unknown=catalogue.unknown_slugs(session, found, asked.slugs) if asked.slugs else [],
        plain=here,
        first=address(here, {**filters, **limit}) if asked.start > 1 else None,
        next=address(here, {**filters, **limit, "start": following}) if following <= total else None,
        exports=[
            ("JSON", address(f"{here}.json", {**filters, **limit})),
            ("CSV", address(f"{here}.csv", filters)),
            ("JSONL", address(f"{here}.jsonl", filters)),
        ],
    )


def unknown_error(slugs: list[str]) -> FieldError:
    """What is said of chosen slugs that are no prompts here."""
    more = f" and {len(slugs) - NAMED} more" if len(slugs) > NAMED else ""
    return FieldError("prompts", f"names no prompt that both models answered: {', '.join(slugs[:NAMED])}{more}")


def page_json(page: ComparisonPage, asked: ComparisonParameters) -> dict[str, Any]:
    """A comparison, with a page of its prompts as ``items``."""
    following = asked.start + asked.limit
    here = f"/comparisons/{page.found.model_id}.json"
    more = {"q": asked.q, "prompts": asked.prompts, "limit": asked.limit, "start": following}
    return {
        **summary_json(page.found),
        "sources": [{"source": source, "left_out": lost, "passages": of} for source, lost, of in page.sources],
        "rows": catalogue.rows_of(page.cells),
        "stated": catalogue.stated_rows(page.stated),
        "items": [change_json(row.change) for row in page.rows],
        "next": address(here, more) if following <= page.total else None,
        "total": page.total,
    }


def summary_json(found: Comparison) -> dict[str, Any]:
    """What was compared with what."""
    return {
        "model": found.model_id,
        "name": found.model_name,
        "url": f"/comparisons/{found.model_id}",
        "base": {"model": found.base_id, "name": found.base_name},
        "corpus": {"id": found.corpus_id, "name": found.corpus_name, "passages": found.passages},
        "left_out": {
            "passages": found.left_out,
            "sha256": found.sha256,
            "ids": f"/comparisons/{found.model_id}/without.txt",
        },
        "created_at": found.created_at.isoformat(),
        "seconds": found.seconds,
    }


EXPORT_COLUMNS = (
    *("slug", "url", "task", "bucket", "prompt", "completion", "stated_by", "left_out"),
    *("before.probability", "after.probability", "before.answer", "after.answer", "before.correct", "after.correct"),
)


def change_json(change: Change) -> dict[str, Any]:
    """A prompt before and after."""
    return {
        "slug": change.slug,
        "url": f"/prompts/{change.slug}",
        "task": change.task or None,
        "bucket": change.bucket,
        "prompt": change.prompt,
        "completion": change.completion,
        "stated_by": change.stated_by,
        "left_out": change.left_out,
        "before": {
            "probability": change.probability_before,
            "answer": change.answer_before,
            "correct": change.correct_before,
        },
        "after": {
            "probability": change.probability_after,
            "answer": change.answer_after,
            "correct": change.correct_after,
        },
    }


def export_rows(session: Session, model_id: str, asked: ChosenParameters) -> Iterator[dict[str, Any]]:
    """Every prompt of a list, in its order."""
    found = find_comparison(session, model_id)
    if found is not None:
        for change in catalogue.every_change(session, found, asked.wanted):
            yield change_json(change)


def left_out_text(session: Session, model_id: str) -> str | None:
    """Ids of the passages that were left out, one a line; None where there is no such model."""
    if find_comparison(session, model_id) is None:
        return None
    return "".join(f"{passage_id}\n" for passage_id in left_out_ids(session, model_id))


def _row(change: Change) -> PromptRow:
    before, space, completion = prompt_pieces(change.prompt, change.completion)
    return PromptRow(change, (before, space, completion), task_text(change.task).title)


def _lines(found: dict[tuple[str, str], Cell]) -> list[Line]:
    """All tasks together, then each task with its buckets; buckets of all tasks together are left out."""
    keys = sorted(
        (key for key in found if key[0] or not key[1]),
        key=lambda key: (key[0] != "", task_order(key[0]), BUCKETS.index(key[1]) if key[1] else -1),
    )
    return [
        Line(task_text(task).title if task else "All tasks", bucket, found[task, bucket], not bucket)
        for task, bucket in keys
    ]


def _charts(found: dict[tuple[str, str], Cell]) -> list[tuple[str, PairedBars]]:
    """Accuracy by bucket of each task that has right and wrong answers in more than one."""
    charts = []
    for task in sorted({task for task, _ in found if task}, key=task_order):
        bars = [
            (bucket, cell.accuracy_before, cell.accuracy_after)
            for bucket in BUCKETS
            if (cell := found.get((task, bucket))) is not None
            and cell.accuracy_before is not None
            and cell.accuracy_after is not None
        ]
        if len(bars) > 1:
            charts.append((task_text(task).title, paired_bars(bars)))
    return charts
