"""The ranking stage: one method over one corpus and query set becomes an immutable run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence

import numpy as np

from backend.core.artifacts import Home, artifact_id, is_finished, seal
from backend.core.files import save_array, write_json
from backend.core.records import Query
from backend.gradients.store import GradientStore, check_comparable
from backend.methods.protocol import Method, MethodInputs
from backend.search.reduce import OPPONENTS, PROPONENTS, Rankings, reduce_scores


def rank(
    home: Home,
    method: Method,
    inputs: MethodInputs,
    queries: Sequence[Query],
    query_store: GradientStore | None,
    *,
    corpus_id: str,
    query_set_id: str,
    model_id: str | None,
    progress: Callable[[float, float, str], None],
) -> str:
    """Rank all passages for all queries; returns the run's id. A no-op where the run is finished.

    ``query_store`` is None for a method that declares no row set. Raises IncompatibleStores where it, or that of the
    evaluation queries, was made with other projections than the passages' store.
    """
    store, evaluation = inputs.store, inputs.evaluation
    artifact_inputs = {
        "corpus": corpus_id,
        "queries": query_set_id,
        "model": model_id,
        "store": store.folder.name if store else None,
        "query_store": query_store.folder.name if query_store else None,
        "evaluation_store": evaluation.store.folder.name if evaluation else None,
        **({"embeddings": inputs.embeddings.id} if inputs.embeddings else {}),
    }
    config = {"method": method.slug, **method.config(), "proponents": PROPONENTS, "opponents": OPPONENTS}
    folder = home.folder("run", artifact_id("run", artifact_inputs, config, prefix=method.slug))
    if is_finished(folder):
        return folder.name
    for other in (query_store, evaluation.store if evaluation else None):
        if store is not None and other is not None:
            check_comparable(store.plan, other.plan)
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    progress(0, 1, "preparing")
    gradients = query_store.values(method.row_set) if query_store and method.row_set else None
    scoring = method.prepare(inputs).score(queries, gradients)
    prepared_seconds = time.monotonic() - started
    rankings = reduce_scores(
        scoring.scorer,
        len(queries),
        [passage.id for passage in inputs.passages],
        proponents=PROPONENTS,
        opponents=OPPONENTS,
        spool_folder=folder,
        progress=lambda done, total: progress(done, total, "scoring"),
    )
    arrays = {**_arrays(rankings), **scoring.arrays}
    for name, array in arrays.items():
        save_array(folder / f"{name}.npy", array)
    write_json(folder / "query_facts.json", scoring.query_facts or [{} for _ in queries])
    seal(
        folder,
        kind="run",
        inputs=artifact_inputs,
        config=config,
        facts={
            **scoring.facts,
            "queries": len(queries),
            "scored": rankings.scored,
            "prepare_seconds": round(prepared_seconds, 3),
        },
        seconds=time.monotonic() - started,
        command=f"proponent rank --method {method.slug}",
    )
    return folder.name


def _arrays(rankings: Rankings) -> dict[str, np.ndarray]:
    arrays = {
        "proponents.i32": rankings.proponents,
        "proponent_scores.f64": rankings.proponent_scores,
        "proponent_percentiles.f32": rankings.proponent_percentiles,
        "opponents.i32": rankings.opponents,
        "opponent_scores.f64": rankings.opponent_scores,
        "opponent_percentiles.f32": rankings.opponent_percentiles,
        "histogram.i32": rankings.histogram,
        "range.f64": rankings.range,
        "quantiles.f32": rankings.quantiles,
    }
    if rankings.matrix is not None and rankings.matrix_scales is not None:
        arrays["scores.f16"] = rankings.matrix
        arrays["score_scales.f32"] = rankings.matrix_scales
    return arrays
