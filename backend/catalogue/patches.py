"""Tail-patch of whole runs: loading what was measured, and the rows of `evaluate tail-patch`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from backend.catalogue.artifact_reader import ArtifactReader
from backend.catalogue.loading_steps import insert_rows, is_loaded, require_loaded
from backend.catalogue.models import (
    Metric,
    Model,
    Passage,
    PatchSet,
    Prompt,
    QuerySet,
    RankedPassage,
    Ranking,
    Run,
)
from backend.core.metrics import TAIL_PATCH_DEPTHS, tail_patch_means


def load_patches(session: Session, folder: Path) -> bool:
    """Load tail-patch of runs: beside their passages, as the mean of each list, and as means over queries.

    A run shows what was measured last: a newer artifact replaces what an older one wrote for it, whatever the order in
    which they are loaded. Returns False if the artifact is there already.
    """
    artifact = ArtifactReader(folder, "patches")
    if is_loaded(session, PatchSet, artifact.id):
        return False
    query_set_id, model_id = artifact.required_input("queries"), artifact.required_input("model")
    require_loaded(session, QuerySet, query_set_id, artifact)
    require_loaded(session, Model, model_id, artifact)
    run_ids, k = artifact.manifest.config.get("runs"), artifact.manifest.config.get("k")
    if not isinstance(run_ids, list) or not isinstance(k, int):
        raise artifact.corrupt("MANIFEST.json", "config.runs or config.k is missing")
    for run_id in run_ids:
        require_loaded(session, Run, run_id, artifact)
    row = {**artifact.columns(), "query_set_id": query_set_id, "model_id": model_id}
    others = session.execute(select(PatchSet.created_at, PatchSet.id, PatchSet.manifest)).all()
    newer = [manifest for moment, other, manifest in others if (moment, other) > (row["created_at"], artifact.id)]
    superseded = {run_id for manifest in newer for run_id in manifest["config"]["runs"]}
    insert_rows(session, PatchSet, [row])
    changes = _changes(artifact)
    measured = [position for _, position in _positions(artifact)]
    for run_id in run_ids:
        if run_id not in superseded:
            _clear(session, run_id, query_set_id)
            _write_changes(session, artifact, run_id, query_set_id, measured, changes, k)
            insert_rows(session, Metric, list(_metric_rows(artifact, run_id)))
    return True


def patch_rows(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Means of runs and baselines from an artifact's facts: the value of `evaluate tail-patch --json`."""
    return [
        {
            "method": row["method"],
            "task": row["task"],
            "bucket": row["bucket"] or None,
            "n": row["n"],
            **{name: row[name] for name in TAIL_PATCH_DEPTHS},
        }
        for row in facts["means"]
        if row["task"]
    ]


def _changes(artifact: ArtifactReader) -> dict[tuple[int, int], float]:
    """(passage position, query position) -> change in percentage points."""
    pairs = artifact.array("pairs.i32.npy", (None, 2), "int32")
    changes = artifact.finite_array("changes.f64.npy", (len(pairs),), "float64")
    return dict(zip(map(tuple, np.asarray(pairs).tolist()), changes.tolist(), strict=True))


def _positions(artifact: ArtifactReader) -> Iterable[tuple[int, int]]:
    for line, row in artifact.rows("queries.jsonl"):
        if not isinstance(row.get("position"), int):
            raise artifact.corrupt(f"queries.jsonl, line {line + 1}", "position is missing")
        yield line, row["position"]


def _clear(session: Session, run_id: str, query_set_id: str) -> None:
    """Take away what was measured before; readers' questions, which are of a set of their own, keep theirs."""
    own = select(Prompt.pk).where(Prompt.query_set_id == query_set_id)
    rankings = select(Ranking.pk).where(Ranking.run_id == run_id, Ranking.prompt_pk.in_(own))
    listed = RankedPassage.ranking_pk.in_(rankings), RankedPassage.tail_patch.is_not(None)
    session.execute(update(RankedPassage).where(*listed).values(tail_patch=None))
    of_run = Ranking.pk.in_(rankings), Ranking.tail_patch.is_not(None)
    session.execute(update(Ranking).where(*of_run).values(tail_patch=None))
    session.execute(delete(Metric).where(Metric.run_id == run_id, Metric.name.in_(TAIL_PATCH_DEPTHS)))


def _write_changes(
    session: Session,
    artifact: ArtifactReader,
    run_id: str,
    query_set_id: str,
    measured: Collection[int],
    changes: dict[tuple[int, int], float],
    k: int,
) -> None:
    statement = (
        select(Ranking.pk, Prompt.position, RankedPassage.rank, Passage.position)
        .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        .join(RankedPassage, RankedPassage.ranking_pk == Ranking.pk)
        .join(Passage, Passage.pk == RankedPassage.passage_pk)
        .where(Ranking.run_id == run_id, Prompt.query_set_id == query_set_id, RankedPassage.rank.between(1, k))
        .order_by(Ranking.pk, RankedPassage.rank)
    )
    wanted = set(measured)
    of_ranking: dict[int, list[float]] = defaultdict(list)
    passages = []
    for ranking_pk, query, rank, passage in session.execute(statement):
        if query in wanted:
            if (passage, query) not in changes:
                raise artifact.corrupt("pairs.i32.npy", f"passage {passage} of query {query} in {run_id} is missing")
            change = changes[passage, query]
            of_ranking[ranking_pk].append(change)
            passages.append({"of_ranking": ranking_pk, "of_rank": rank, "tail_patch": change})
    means = [
        {"of_ranking": ranking_pk, "tail_patch": tail_patch_means(listed, k)["tail_patch"]}
        for ranking_pk, listed in of_ranking.items()
    ]
    connection = session.connection()
    if passages:
        of_row = (
            RankedPassage.ranking_pk == bindparam("of_ranking"),
            RankedPassage.rank == bindparam("of_rank"),
        )
        connection.execute(update(RankedPassage).where(*of_row), passages)
        connection.execute(update(Ranking).where(Ranking.pk == bindparam("of_ranking")), means)


def _metric_rows(artifact: ArtifactReader, run_id: str) -> Iterable[dict[str, Any]]:
    for row in artifact.manifest.facts.get("means", []):
        if row["run"] == run_id:
            for name in TAIL_PATCH_DEPTHS:
                if row[name] is not None:
                    cell = {field: row[field] for field in ("task", "bucket", "n")}
                    yield {"run_id": run_id, **cell, "name": name, "value": row[name]}
