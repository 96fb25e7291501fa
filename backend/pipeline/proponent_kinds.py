"""The stage of `evaluate kinds`: what kinds of passages the runs' first proponents are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backend.catalogue.runs import RunSummary
from backend.core.files import load_array
from backend.core.records import fact_queries
from backend.evaluation.kinds import KINDS, ProponentKinds
from backend.pipeline.evaluated_runs import evaluated_runs
from backend.pipeline.measuring import measured
from backend.pipeline.workspace import Workspace

STAGE = "evaluate/kinds"

EXAMPLES_FROM = ("trackstar",)
"""Methods whose lists give the examples where they can."""


def evaluate_kinds(work: Workspace, run_ids: Sequence[str] = (), k: int = 10) -> dict[str, Any]:
    """Sort the first ``k`` proponents of runs, or of the current ones, into kinds; the measurement's facts."""
    work.reporter.plan([(STAGE, "Sorting proponents into kinds")])
    with work.reporter.stage(STAGE):
        return measure_kinds(work, run_ids, k)


def measure_kinds(work: Workspace, run_ids: Sequence[str] = (), k: int = 10) -> dict[str, Any]:
    """``evaluate_kinds`` within a stage that is already open."""
    runs, model_id = evaluated_runs(work, run_ids)
    ids = sorted(run.id for run in runs)
    return measured(
        work,
        "kinds",
        {"queries": runs[0].query_set_id, "corpus": runs[0].corpus_id, "model": model_id},
        {"k": k, "runs": ids, "kinds": list(KINDS)},
        lambda: _shares(work, runs, k),
        " ".join(["proponent evaluate kinds", *(f"--run {run_id}" for run_id in run_ids), f"--k {k}"]),
    )


def _shares(work: Workspace, runs: Sequence[RunSummary], k: int) -> dict[str, Any]:
    """Shares of the kinds by run, over all first ``k`` passages of all fact queries; runs that state most come first.

    An example of a kind is the first passage of it in the first list that has one.
    """
    passages, queries = work.passages(runs[0].corpus_id), work.queries(runs[0].query_set_id)
    chosen = fact_queries(queries)
    rules = ProponentKinds(queries)
    rows: list[dict[str, Any]] = []
    examples: dict[str, dict[str, str]] = {}
    for run in sorted(runs, key=lambda run: (run.method not in EXAMPLES_FROM, run.method)):
        proponents: np.ndarray = load_array(work.folder("run", run.id) / "proponents.i32.npy")
        counts = dict.fromkeys(KINDS, 0)
        for row in chosen:
            for position in proponents[row, :k]:
                if position >= 0:
                    kind = rules.kind(queries[row], passages[position])
                    counts[kind] += 1
                    examples.setdefault(kind, {"query": queries[row].id, "passage": passages[position].id})
        total = sum(counts.values())
        if total:
            shares = {kind: count / total for kind, count in counts.items()}
            rows.append({"method": run.method, "run": run.id, "n": total, "shares": shares})
    rows.sort(key=lambda row: (-row["shares"][KINDS[0]], row["method"]))
    return {"k": k, "queries": len(chosen), "kinds": list(KINDS), "rows": rows, "examples": examples}
