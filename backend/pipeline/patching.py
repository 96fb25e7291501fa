"""The stage of `evaluate tail-patch`: the measurement and its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from backend.catalogue.patches import patch_rows
from backend.core.artifacts import read_manifest
from backend.core.files import load_array
from backend.evaluation.patches import PatchConfig, PatchedRun, PatchSubject, measure_runs
from backend.models.loading import load_model
from backend.pipeline.evaluated_runs import evaluated_runs
from backend.pipeline.workspace import Workspace

STAGE = "evaluate/tail-patch"


def evaluate_tail_patch(work: Workspace, run_ids: Sequence[str], config: PatchConfig) -> list[dict[str, Any]]:
    """Measure tail-patch for runs, or for the current ones, and load it; the rows of `evaluate tail-patch --json`.

    Runs on one thread: the steps are small, so that two are slower, and bytes are equal for equal thread counts only.
    """
    runs, model_id = evaluated_runs(work, run_ids)
    torch.set_num_threads(1)
    corpus_id, query_set_id = runs[0].corpus_id, runs[0].query_set_id
    work.reporter.plan([(STAGE, "Measuring tail-patch")])
    with work.reporter.stage(STAGE, "pairs") as report:
        subject = PatchSubject(
            loaded=load_model(work.home, model_id, device=work.settings.device),
            corpus_id=corpus_id,
            query_set_id=query_set_id,
            passages=work.passages(corpus_id),
            queries=work.queries(query_set_id),
            runs=[
                PatchedRun(run.id, run.method, load_array(work.folder("run", run.id) / "proponents.i32.npy"))
                for run in runs
            ],
        )
        patches_id = measure_runs(
            work.home, subject, config, report, work.reporter.say, command=_command(run_ids, config)
        )
        report(0, 0, "loading into the catalogue")
        work.catalogue("patches", patches_id)
    return patch_rows(read_manifest(work.folder("patches", patches_id)).facts)


def _command(run_ids: Sequence[str], config: PatchConfig) -> str:
    parts = ["proponent evaluate tail-patch", *(f"--run {run_id}" for run_id in run_ids)]
    if config.queries is not None:
        parts.append(f"--queries {config.queries}")
    return " ".join([*parts, f"--k {config.k}", f"--seed {config.seed}"])
