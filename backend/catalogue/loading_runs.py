"""Loading a run: its rankings, ranked passages and mean retrieval metrics.

A run made here scored every passage and comes with the distribution of its scores. One whose lists were imported
has no such files, so its rankings have no histogram and its passages no percentiles.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.catalogue.artifact_reader import ArtifactReader
from backend.catalogue.loading_steps import insert_rows, is_loaded, require_loaded
from backend.catalogue.models import (
    Corpus,
    Entailment,
    Metric,
    Model,
    Passage,
    Prompt,
    QuerySet,
    RankedPassage,
    Ranking,
    Run,
)
from backend.catalogue.prompt_summaries import summarize_prompts
from backend.core.metrics import RetrievalMetrics, by_task_and_bucket, retrieval_metrics

BINS = 64
RETRIEVAL_METRICS = {
    "mrr": "reciprocal_rank",
    "recall_at_10": "recall_at_10",
    "precision_at_1": "precision_at_1",
    "precision_at_10": "precision_at_10",
}
"""Name of a mean in ``metrics`` -> the column of ``rankings`` that it is the mean of."""

RANKINGS_A_STATEMENT = 100
DISTRIBUTION = (
    "histogram.i32.npy",
    "range.f64.npy",
    "quantiles.f32.npy",
    "proponent_percentiles.f32.npy",
    "opponent_percentiles.f32.npy",
)
"""Files that tell how all passages scored: a run has all of them or, with imported lists, none."""

IMPORTED = "imported"
"""Setting of a manifest that says of what format an artifact's content was imported."""

LINE = "line"
"""Fact of a query in an imported run: its line in the file that was imported; none where the file lacked it."""

STATED_ELSEWHERE = "stated_elsewhere"
"""Fact of a query in an imported run: its lists were judged, and its fact is stated by passages in none of them."""


@dataclass(frozen=True, slots=True)
class _Side:
    """Proponents or opponents of all queries."""

    positions: np.ndarray
    """Queries x k, int32; -1 after the last passage."""
    scores: np.ndarray
    percentiles: np.ndarray | None


def load_run(session: Session, folder: Path) -> bool:
    """Load a run; returns False if it is there already.

    Raises MissingArtifact where its corpus, query set or model is not in the catalogue and CorruptArtifact
    where an array has the wrong shape or names a passage that the corpus does not have, or where only some of the
    files of the scores' distribution are there.
    """
    artifact = ArtifactReader(folder, "run")
    if is_loaded(session, Run, artifact.id):
        return False
    corpus_id, query_set_id = artifact.required_input("corpus"), artifact.required_input("queries")
    model_id = artifact.input("model")
    require_loaded(session, Corpus, corpus_id, artifact)
    require_loaded(session, QuerySet, query_set_id, artifact)
    if model_id is not None:
        require_loaded(session, Model, model_id, artifact)
    if session.get_one(QuerySet, query_set_id).corpus_id != corpus_id:
        raise artifact.corrupt("MANIFEST.json", f"the query set {query_set_id} is of another corpus")
    row = {
        **artifact.columns(),
        "method": artifact.setting("method"),
        "corpus_id": corpus_id,
        "query_set_id": query_set_id,
        "model_id": model_id,
        "store_id": artifact.input("store"),
    }
    insert_rows(session, Run, [row])

    prompts = select(Prompt).filter_by(query_set_id=query_set_id).order_by(Prompt.position)
    statement = select(Passage.pk, Passage.passage_id).filter_by(corpus_id=corpus_id).order_by(Passage.position)
    passages = [(pk, passage_id) for pk, passage_id in session.execute(statement)]
    _load_rankings(session, artifact, list(session.scalars(prompts)), passages)
    summarize_prompts(session, query_set_id)
    return True


def _load_rankings(
    session: Session, artifact: ArtifactReader, prompts: list[Prompt], passages: list[tuple[int, str]]
) -> None:
    scored = _has_distribution(artifact)
    proponents = _side(artifact, "proponent", len(prompts), len(passages), scored)
    opponents = _side(artifact, "opponent", len(prompts), len(passages), scored)
    facts = _query_facts(artifact, len(prompts))
    metrics = _metrics(session, prompts, [passage_id for _, passage_id in passages], proponents.positions)
    if IMPORTED in artifact.manifest.config:
        metrics = [_imported_metrics(metric, fact) for metric, fact in zip(metrics, facts, strict=True)]
    insert_rows(session, Ranking, _ranking_rows(artifact, prompts, facts, metrics, scored))

    statement = select(Ranking.prompt_pk, Ranking.pk).filter_by(run_id=artifact.id)
    of_prompt = {prompt_pk: pk for prompt_pk, pk in session.execute(statement)}
    ranking_pks = [of_prompt[prompt.pk] for prompt in prompts]
    passage_pks = np.fromiter((pk for pk, _ in passages), np.int64, len(passages))
    for start in range(0, len(prompts), RANKINGS_A_STATEMENT):
        rows = slice(start, start + RANKINGS_A_STATEMENT)
        ranked = chain(
            _ranked_rows(ranking_pks[rows], passage_pks, proponents, rows, sign=1),
            _ranked_rows(ranking_pks[rows], passage_pks, opponents, rows, sign=-1),
        )
        insert_rows(session, RankedPassage, list(ranked))
    insert_rows(session, Metric, list(_mean_rows(artifact.id, prompts, metrics)))


def _has_distribution(artifact: ArtifactReader) -> bool:
    missing = [name for name in DISTRIBUTION if not artifact.holds(name)]
    if missing and len(missing) < len(DISTRIBUTION):
        raise artifact.corrupt(missing[0], "it is missing, while other files of the scores' distribution are there")
    return not missing


def _query_facts(artifact: ArtifactReader, queries: int) -> list[dict[str, Any]]:
    facts = artifact.json("query_facts.json")
    if not (isinstance(facts, list) and len(facts) == queries and all(isinstance(fact, dict) for fact in facts)):
        raise artifact.corrupt("query_facts.json", f"it is no list of {queries} objects")
    return facts


def _side(artifact: ArtifactReader, name: str, queries: int, passages: int, scored: bool) -> _Side:
    file = f"{name}s.i32.npy"
    positions = np.asarray(artifact.array(file, (queries, None), "int32"))
    if positions.size and not (positions.min() >= -1 and positions.max() < passages):
        raise artifact.corrupt(file, f"it names positions outside the corpus of {passages} passages")
    empty = positions == -1
    if (empty[:, :-1] & ~empty[:, 1:]).any():
        raise artifact.corrupt(file, "a passage follows an empty place")
    ordered = np.sort(positions, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != -1)).any():
        raise artifact.corrupt(file, "a passage occurs twice in a ranking")
    shape = positions.shape
    scores = np.asarray(artifact.array(f"{name}_scores.f64.npy", shape, "float64"))
    percentiles = np.asarray(artifact.array(f"{name}_percentiles.f32.npy", shape, "float32")) if scored else None
    for values in (scores, percentiles):
        if values is not None and not np.isfinite(values[~empty]).all():
            raise artifact.corrupt(f"{name}_scores.f64.npy", "a score or percentile is not finite")
    return _Side(positions, scores, percentiles)


def _metrics(
    session: Session, prompts: list[Prompt], passage_ids: list[str], positions: np.ndarray
) -> list[RetrievalMetrics | None]:
    entails: dict[int, set[str]] = defaultdict(set)
    statement = (
        select(Entailment.prompt_pk, Passage.passage_id)
        .join(Passage, Passage.pk == Entailment.passage_pk)
        .join(Prompt, Prompt.pk == Entailment.prompt_pk)
    )
    if prompts:
        statement = statement.where(Prompt.query_set_id == prompts[0].query_set_id)
    for prompt_pk, passage_id in session.execute(statement):
        entails[prompt_pk].add(passage_id)
    return [
        retrieval_metrics([passage_ids[position] for position in row if position >= 0], entails[prompt.pk])
        for prompt, row in zip(prompts, positions.tolist(), strict=True)
    ]


def _imported_metrics(found: RetrievalMetrics | None, fact: dict[str, Any]) -> RetrievalMetrics | None:
    """Of an imported list: none where the file had no list for the query, zeros where all it lists was judged in vain.

    A list that was made here is left out of the means where no passage entails its query: the corpus is known.
    Of an imported one the passages beside the listed ones are unknown, and some of them state the fact.
    """
    if LINE not in fact:
        return None
    if found is None and fact.get(STATED_ELSEWHERE):
        return RetrievalMetrics(0.0, 0.0, 0.0, 0.0)
    return found


def _ranking_rows(
    artifact: ArtifactReader,
    prompts: list[Prompt],
    facts: list[dict[str, Any]],
    metrics: list[RetrievalMetrics | None],
    scored: bool,
) -> list[dict[str, Any]]:
    histogram: list[list[int] | None] = [None] * len(prompts)
    score_range: list[tuple[float | None, float | None]] = [(None, None)] * len(prompts)
    if scored:
        histogram = artifact.array("histogram.i32.npy", (len(prompts), BINS), "int32").tolist()
        score_range = artifact.finite_array("range.f64.npy", (len(prompts), 2), "float64").tolist()
    nothing: dict[str, float | None] = dict.fromkeys(RETRIEVAL_METRICS.values())
    return [
        {
            "run_id": artifact.id,
            "prompt_pk": prompt.pk,
            "scored": None if counts is None else sum(counts),
            "minimum": minimum,
            "maximum": maximum,
            "histogram": counts,
            "facts": fact,
            **(nothing if metric is None else asdict(metric)),
        }
        for prompt, counts, (minimum, maximum), fact, metric in zip(
            prompts, histogram, score_range, facts, metrics, strict=True
        )
    ]


def _ranked_rows(
    ranking_pks: list[int], passage_pks: np.ndarray, side: _Side, rows: slice, sign: int
) -> Iterator[dict[str, Any]]:
    """Rows of ``ranked_passages``: ranks 1, 2, ... or, with sign -1, -1, -2, ..."""
    positions = side.positions[rows]
    query, place = np.nonzero(positions != -1)
    percentiles: list[float | None] = [None] * len(query)
    if side.percentiles is not None:
        percentiles = side.percentiles[rows][query, place].tolist()
    columns = zip(
        np.asarray(ranking_pks, np.int64)[query].tolist(),
        (sign * (place + 1)).tolist(),
        passage_pks[positions[query, place]].tolist(),
        side.scores[rows][query, place].tolist(),
        percentiles,
        strict=True,
    )
    for ranking_pk, rank, passage_pk, score, percentile in columns:
        yield {
            "ranking_pk": ranking_pk,
            "rank": rank,
            "passage_pk": passage_pk,
            "score": score,
            "percentile": percentile,
        }


def _mean_rows(run_id: str, prompts: list[Prompt], metrics: list[RetrievalMetrics | None]) -> Iterator[dict[str, Any]]:
    """Means over the queries that some passage entails, by task and bucket, each of them or all ("")."""
    measured = (
        (prompt.task, prompt.bucket, metric)
        for prompt, metric in zip(prompts, metrics, strict=True)
        if metric is not None
    )
    for (task, bucket), found in by_task_and_bucket(measured).items():
        for name, field in RETRIEVAL_METRICS.items():
            value = sum(getattr(metric, field) for metric in found) / len(found)
            yield {
                "run_id": run_id,
                "task": task,
                "bucket": bucket,
                "name": name,
                "value": value,
                "n": len(found),
            }
