"""The stage of `evaluate fidelity`: projected dot products against exact ones, over the model behind the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from backend.core.artifacts import read_manifest
from backend.core.records import fact_queries
from backend.core.sampling import in_drawn_order
from backend.core.tokenizer import TextTokenizer
from backend.evaluation.fidelity import RANKS, FidelitySubject, measure_fidelity
from backend.gradients.examples import Example
from backend.gradients.projections import PCA, RANDOM
from backend.gradients.second_moment import SECOND_MOMENT, load_second_moments
from backend.pipeline.evaluated_runs import evaluated_runs, store_behind
from backend.pipeline.measuring import measured
from backend.pipeline.stages import Report, encodable_model
from backend.pipeline.workspace import Workspace

STAGE = "evaluate/fidelity"


def evaluate_fidelity(work: Workspace, queries: int = 20, passages: int = 500, seed: int = 0) -> dict[str, Any]:
    """Measure how true projected dot products are for a sample of facts and passages; the measurement's facts."""
    runs, model_id = evaluated_runs(work)
    store_id = store_behind(work, runs)
    corpus_id, query_set_id = runs[0].corpus_id, runs[0].query_set_id
    work.reporter.plan([(STAGE, "Comparing projected with exact dot products")])
    with work.reporter.stage(STAGE, "encodings") as report:
        return measured(
            work,
            "fidelity",
            {"queries": query_set_id, "corpus": corpus_id, "model": model_id, "store": store_id},
            {"queries": queries, "passages": passages, "seed": seed, "ranks": list(RANKS), "kinds": [RANDOM, PCA]},
            lambda: _measure(work, (corpus_id, query_set_id, model_id, store_id), (queries, passages, seed), report),
            f"proponent evaluate fidelity --queries {queries} --passages {passages} --seed {seed}",
        )


def _measure(
    work: Workspace, ids: tuple[str, str, str, str], sizes: tuple[int, int, int], report: Report
) -> dict[str, Any]:
    torch.set_num_threads(work.threads)
    corpus_id, query_set_id, model_id, store_id = ids
    count, passages_count, seed = sizes
    all_queries, all_passages = work.queries(query_set_id), work.passages(corpus_id)
    tokenizer = TextTokenizer.load(work.folder("model", model_id))
    facts = fact_queries(all_queries)
    queries = [all_queries[facts[at]] for at in _drawn([all_queries[row].id for row in facts], count, seed)]
    drawn = _drawn([passage.id for passage in all_passages], passages_count, seed)
    encoded = [(query.id, tokenizer.encode_named(query)) for query in queries]
    corpus = [
        Example(passage.id, text.ids, 1)
        for passage, text in zip(
            all_passages, tokenizer.encode_passages(passage.text for passage in all_passages), strict=True
        )
    ]
    store = work.folder("store", store_id)
    subject = FidelitySubject(
        model=encodable_model(work, model_id),
        second_moments=load_second_moments(store / SECOND_MOMENT),
        passages=[corpus[at] for at in drawn],
        queries=[Example(query_id, query.ids, query.first_target) for query_id, query in encoded],
        corpus=corpus,
    )
    rows = measure_fidelity(subject, seed, report)
    return {
        "queries": len(queries),
        "passages": len(drawn),
        "store_rank": read_manifest(store).config["rank"],
        "rows": rows,
    }


def _drawn(names: Sequence[str], count: int, seed: int) -> list[int]:
    """Positions of a sample, in order, drawn by seed and name alone."""
    chosen = set(in_drawn_order(names, f"{seed}/fidelity")[:count])
    return [at for at, name in enumerate(names) if name in chosen]
