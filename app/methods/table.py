"""The paper's table on this corpus: a row a method, a column a yardstick, and what each cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.methods.breakdowns import over_all_facts
from app.methods.explained import explained
from app.methods.stores import StoreCost, store_cost
from app.methods_text import METHOD_TEXTS, MethodText, method_order, method_text
from backend.catalogue.measurements import Measured
from backend.catalogue.method_tables import RunCost
from backend.catalogue.runs import RunSummary

NOT_OFFERED = frozenset({"ekfac"})
"""Methods with a text that `proponent rank` of this version does not know (imported runs can be of them)."""

COMMANDS = {
    "tail_patch": "proponent evaluate tail-patch",
    "lds": "proponent evaluate lds",
    "removal": "proponent evaluate removal",
}
"""Column -> the command that measures it."""

LEADS = {
    "mrr": "Finds a passage that states the fact first",
    "tail_patch": "Lists passages that move the model most",
    "lds": "Predicts best what training on other passages gives",
    "removal": "Lists passages whose removal hurts most",
}
"""Column -> what its best method does."""

JUDGED = ("mrr", "recall_at_10", "tail_patch", "lds", "share", "removal")
"""Columns in which more is better."""


BASELINE_TITLES = {"random passage": "A random passage", "entailing passages": "Passages that state the fact"}
"""Name of a baseline in the facts of tail-patch -> its title."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A number, with its 95% interval where there is one, and whether it is the best of its column."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A method with a run."""

    text: MethodText
    run_id: str
    n: int
    cells: dict[str, Cell]
    cost: RunCost | None
    store: StoreCost | None


@dataclass(frozen=True, slots=True)
class Leader:
    """Who is best by one yardstick."""

    words: str
    texts: list[MethodText]
    name: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is no method with a run, but was measured to compare with."""

    title: str
    n: int
    tail_patch: float | None
    removal: Cell


@dataclass(frozen=True, slots=True)
class Absent:
    """A method that is known and has no run here."""

    text: MethodText
    command: str
    needs: str


@dataclass(frozen=True, slots=True)
class PaperTable:
    """All of it; ``missing`` has the columns that nothing was measured for, each with its command."""

    rows: list[Row]
    leaders: list[Leader]
    baselines: list[Baseline]
    absent: list[Absent]
    missing: dict[str, str]
    ceiling: Cell | None
    ceiling_n: int
    lds: Measured | None
    removal: Measured | None
    removal_n: int
    """Facts whose first passages were taken out: fewer than the small model has."""
    prompts: int | None
    """How many prompts each run ranked passages for, where all are alike."""


def paper_table(
    runs: Sequence[RunSummary],
    retrieval: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Measured],
    baselines: Sequence[Mapping[str, Any]],
    costs: Mapping[str, RunCost],
    home: Path,
) -> PaperTable:
    """The table over fact queries; ``retrieval`` is ``retrieval_table`` of the query set."""
    facts = over_all_facts(retrieval)
    lds, removal = measured.get("lds"), measured.get("removal")
    limit = _whole(lds.facts.get("ceiling", ())) if lds else None
    removed = {row["method"]: row for row in removal.facts["rows"]} if removal else {}
    known = {run.method for run in runs}
    rows = [
        _row(run, facts.get(run.method, {}), limit, removed.get(run.method), costs.get(run.id), home)
        for run in sorted(runs, key=lambda run: method_order(run.method))
    ]
    rows = _with_best(rows)
    queries = {row.cost.queries for row in rows if row.cost}
    return PaperTable(
        rows=rows,
        leaders=_leaders(rows),
        baselines=[
            *(
                Baseline(BASELINE_TITLES.get(row["method"], row["method"]), row["n"], row["tail_patch"], Cell())
                for row in baselines
                if row["task"] == "facts" and row["bucket"] is None
            ),
            *(Baseline(slug, row["n"], None, _loss(row)) for slug, row in removed.items() if slug not in known),
        ],
        absent=[
            Absent(text, f"proponent rank --method {slug}", explained(slug).needs)
            for slug, text in METHOD_TEXTS.items()
            if slug not in known | NOT_OFFERED
        ],
        missing={
            name: command for name, command in COMMANDS.items() if all(row.cells[name].value is None for row in rows)
        },
        ceiling=None if limit is None else Cell(limit["value"], limit["low"], limit["high"]),
        ceiling_n=0 if limit is None else limit["n"],
        lds=lds,
        removal=removal,
        removal_n=max((row["n"] for row in removed.values()), default=0),
        prompts=queries.pop() if len(queries) == 1 else None,
    )


def _whole(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row over all facts."""
    return next((row for row in rows if row["task"] == "facts" and row["bucket"] == ""), None)


def _row(
    run: RunSummary,
    means: Mapping[str, Any],
    limit: Mapping[str, Any] | None,
    removed: Mapping[str, Any] | None,
    cost: RunCost | None,
    home: Path,
) -> Row:
    lds = means.get("lds")
    share = lds / limit["value"] if lds is not None and limit is not None and limit["value"] > 0 else None
    cells = {name: Cell(means.get(name)) for name in ("mrr", "recall_at_10", "tail_patch")}
    cells["lds"] = Cell(lds, means.get("lds_low"), means.get("lds_high"))
    cells["share"] = Cell(share)
    cells["removal"] = _loss(removed) if removed else Cell()
    store = store_cost(home, cost.store_id, cost.row_set) if cost else None
    return Row(method_text(run.method), run.id, means.get("n", 0), cells, cost, store)


def _loss(removed: Mapping[str, Any]) -> Cell:
    return Cell(removed["loss_change"], removed["low"], removed["high"])


def _with_best(rows: list[Row]) -> list[Row]:
    """The rows with the best cell of each judged column marked."""
    for name in JUDGED:
        values = [row.cells[name].value for row in rows]
        best = max((value for value in values if value is not None), default=None)
        for row in rows:
            cell = row.cells[name]
            if best is not None and len(rows) > 1 and cell.value == best:
                row.cells[name] = Cell(cell.value, cell.low, cell.high, best=True)
    return rows


def _leaders(rows: Sequence[Row]) -> list[Leader]:
    found = []
    for name, words in LEADS.items():
        best = [row for row in rows if row.cells[name].best]
        if best:
            cell = Cell(best[0].cells[name].value, best[0].cells[name].low, best[0].cells[name].high)
            found.append(Leader(words, [row.text for row in best], name, cell))
    return found


def table_json(table: PaperTable) -> dict[str, Any]:
    """The table as its JSON twin has it."""
    return {
        "rows": [_row_json(row) for row in table.rows],
        "baselines": [
            {"method": row.title, "n": row.n, "tail_patch": row.tail_patch, "loss_change": row.removal.value}
            for row in table.baselines
        ],
        "without_run": [{"method": row.text.slug, "command": row.command} for row in table.absent],
        "ceiling": None
        if table.ceiling is None
        else {
            "value": table.ceiling.value,
            "low": table.ceiling.low,
            "high": table.ceiling.high,
            "n": table.ceiling_n,
        },
    }


def _row_json(row: Row) -> dict[str, Any]:
    cells = row.cells
    return {
        "method": row.text.slug,
        "run": row.run_id,
        "n": row.n,
        **{name: cells[name].value for name in ("mrr", "recall_at_10", "tail_patch")},
        **{"lds": cells["lds"].value, "lds_low": cells["lds"].low, "lds_high": cells["lds"].high},
        "lds_share_of_ceiling": cells["share"].value,
        **{"loss_change": cells["removal"].value, "loss_change_low": cells["removal"].low},
        "loss_change_high": cells["removal"].high,
        "seconds": row.cost.seconds if row.cost else None,
        "queries": row.cost.queries if row.cost else None,
        "row_set": row.cost.row_set if row.cost else None,
        "store": row.cost.store_id if row.cost else None,
        "store_seconds": row.store.seconds if row.store else None,
        "store_bytes": row.store.bytes if row.store else None,
    }
