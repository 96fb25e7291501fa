"""How long ranking 400 queries by all methods over a gradient store takes, beside what no ranking can do without.

Prints one JSON object. ``seconds`` is the sum over the methods, from the opened store to the sealed run: R and its
eigenvectors or factor, passage norms, scores, lists and distributions in files (in a temporary folder; the catalogue is
not part of it). ``ratio`` is that over ``lower_bound_seconds``: for each method, reading the row set that it scores and
one product of all rows with 400 vectors, measured in the same process right before each method.

Without ``--home`` it makes a stand-in first, in a temporary folder: the demonstration's corpus and queries, and a model
of its size with random weights, which costs as much time as a trained one.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from stand_in import stand_in

from backend.core.artifacts import Home, read_manifest
from backend.corpora.artifact import load_passages, load_queries
from backend.gradients.store import GradientStore
from backend.methods.protocol import EvaluationQueries, MethodInputs
from backend.methods.registry import find_method
from backend.pipeline.ranking import rank

METHODS = ("gradient-dot", "gradient-cosine", "trak", "logra", "logra-relatif", "trackstar-general", "trackstar")
QUERIES = 400


class FirstRows(GradientStore):
    """A query store of which only the first rows are ranked for."""

    def values(self, row_set: str) -> np.ndarray:
        return super().values(row_set)[:QUERIES]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity: the output is always JSON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--home", type=Path, help="a home with a TrackStar run; by default a stand-in is made")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as made:
        home = arguments.home or stand_in(Path(made), arguments.threads)
        print(json.dumps({"threads": arguments.threads, **measure(Home(home.absolute()), Home(Path(made) / "runs"))}))


def measure(home: Home, into: Home) -> dict[str, Any]:
    """Rank by each method, its lower bound right before it."""
    run = _largest_run(home)
    corpus_id, query_set_id = run["corpus"], run["queries"]
    passages, queries = load_passages(home, corpus_id), load_queries(home, query_set_id)
    store, query_store = GradientStore.open(home, run["store"]), FirstRows.open(home, run["query_store"])
    evaluation_store = GradientStore.open(home, run["evaluation_store"])
    evaluation = EvaluationQueries.of_facts(query_set_id, evaluation_store, queries)
    ranked = queries[:QUERIES]
    bounds, seconds = {}, {}
    for slug in METHODS:
        method = find_method(slug)
        bounds[slug] = lower_bound(store, str(method.row_set), query_store.values(str(method.row_set)))
        started = time.perf_counter()
        rank(
            into,
            method,
            MethodInputs(passages, store, evaluation),
            ranked,
            query_store,
            corpus_id=corpus_id,
            query_set_id=query_set_id,
            model_id=run["model"],
            progress=lambda done, total, message: None,
        )
        seconds[slug] = time.perf_counter() - started
    total, bound = sum(seconds.values()), sum(bounds.values())
    return {
        "passages": store.rows,
        "dims": store.plan.dims,
        "queries": len(ranked),
        "seconds": round(total, 2),
        "lower_bound_seconds": round(bound, 2),
        "ratio": round(total / bound, 2),
        "by_method": {slug: round(value, 2) for slug, value in seconds.items()},
    }


def lower_bound(store: GradientStore, row_set: str, vectors: np.ndarray) -> float:
    """Seconds of reading all rows and one product of them with the vectors, in float32."""
    started = time.perf_counter()
    queries = vectors.astype(np.float32)
    for _, block in store.blocks(row_set):
        queries @ block.astype(np.float32).T
    return time.perf_counter() - started


def _largest_run(home: Home) -> dict[str, str]:
    """The inputs of the TrackStar run over the largest query set."""
    runs = [read_manifest(home.folder("run", name)) for name in home.finished("run")]
    found = [run for run in runs if run.config["method"] == "trackstar"]
    if not found:
        raise SystemExit(f"{home.root} holds no run of trackstar")
    return {name: str(value) for name, value in max(found, key=lambda run: run.facts["queries"]).inputs.items()}


if __name__ == "__main__":
    main()
