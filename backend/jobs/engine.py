"""What a worker holds in memory, and how it answers: models, prepared methods, memory-mapped stores.

A question's backward pass runs alone and its query vector is made alone; only the scan of the store is shared, and
its products are exact integers. So a question's answer has the same bytes whatever else is asked at the time.
"""

from __future__ import annotations

import math
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch

from backend.core.artifacts import Home
from backend.core.errors import InputError, UserError
from backend.core.records import Passage, Query
from backend.corpora.artifact import load_passages, load_queries
from backend.embeddings.artifact import Embeddings
from backend.embeddings.opening import open_embedder
from backend.evaluation.tail_patch import TailPatch
from backend.gradients.build import EncodableModel
from backend.gradients.encoder import GradientEncoder
from backend.gradients.query_encoder import open_encoder
from backend.gradients.store import GradientStore
from backend.jobs.records import RunRecord
from backend.methods.projected import Projected
from backend.methods.protocol import EvaluationQueries, MethodInputs, PreparedMethod, needed_embedding
from backend.methods.registry import method_of_run
from backend.models.decoding import Generated, Limits, decode, sampler
from backend.models.generation import GenerationConfig, completion_probabilities, limits_of
from backend.models.loading import LoadedModel, load_model, resolve_device
from backend.search.index import SearchIndex
from backend.search.int8_scan import Int8Scan, approximate_scores, open_scan
from backend.search.reduce import OPPONENTS, PROPONENTS, Listed, reduce_query, ties_by_id
from backend.search.run_index import RunIndexes, newest_index, open_indexes
from backend.search.scoring import Scorer

MODELS, RUNS, CORPORA = 2, 16, 2
"""How many of each are kept; the one that was used longest ago goes first."""

MOST_NEW_TOKENS = 40

T = TypeVar("T")
OnStage = Callable[[str, float, int | None], None]
"""(stage, share of it that is done, which question it is about; None: all of the batch)."""


@dataclass
class LoadedRun:
    """A run that can be asked."""

    record: RunRecord
    passages: Sequence[Passage]
    ties: np.ndarray
    method: PreparedMethod
    row_set: str | None
    model: LoadedModel | None
    encoder: GradientEncoder | None
    scan: Int8Scan | None
    indexes: RunIndexes | None = None
    """Searched instead of scanning the store, for questions of a geometry that is in them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A question's ranking, and how long each part took."""

    ranking: Listed
    """A ``QueryRanking`` where all passages were scored."""
    facts: dict[str, Any]
    """What the method records for the query."""
    completion_probability: float | None
    """None for a method that looks at no model."""
    seconds: dict[str, float]
    """gradient, query (K and norms), scan (shared by its batch), reduce."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that is ready to be scanned for."""

    scorer: Scorer
    index: SearchIndex | None
    vector: np.ndarray | None
    """To search the index with."""
    facts: dict[str, Any]
    completion_probability: float | None
    seconds: dict[str, float]


class Engine:
    """Loads what runs need, keeps what was used last, answers questions; for one thread."""

    def __init__(self, home: Home, device: str = "auto", search: Literal["exact", "index"] = "exact") -> None:
        """With ``search`` "index", runs that have an index when they are loaded are searched through it."""
        self.home, self.search = home, search
        self.device = str(resolve_device(device))
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._patches: OrderedDict[str, TailPatch] = OrderedDict()
        self._runs: OrderedDict[str, LoadedRun] = OrderedDict()
        self._passages: OrderedDict[str, tuple[list[Passage], np.ndarray]] = OrderedDict()
        self._scans: OrderedDict[tuple[str, str], Int8Scan] = OrderedDict()
        self._scanned = (0.0, 0.0)
        self._encoders: OrderedDict[tuple[str, str], GradientEncoder] = OrderedDict()

    def model(self, model_id: str) -> LoadedModel:
        """A model, loaded once."""
        return _kept(self._models, model_id, MODELS, lambda: load_model(self.home, model_id, self.device))

    def run(self, record: RunRecord) -> LoadedRun:
        """A run ready to be asked; raises UserError where its artifacts are missing, damaged or of another version."""
        return _kept(self._runs, record.id, RUNS, lambda: self._load_run(record))

    def holds(self, run_id: str | None, model_id: str | None) -> bool:
        """Whether a run and a model are loaded."""
        return (run_id is None or run_id in self._runs) and (model_id is None or model_id in self._models)

    def patch(self, model_id: str) -> TailPatch:
        """The tail-patch of a model."""
        return _kept(self._patches, model_id, 1, lambda: TailPatch.open(self.home, self.model(model_id)))

    @property
    def scanned(self) -> tuple[float, float]:
        """(bytes, seconds) of all scans so far."""
        return self._scanned

    def _load_run(self, record: RunRecord) -> LoadedRun:
        method = method_of_run(record.id, record.method, record.manifest["config"])
        inputs = record.manifest["inputs"]
        passages, ties = self._corpus(record.corpus_id)
        embeddings = self._embeddings(record, needed_embedding(method))
        if method.row_set is None:
            model = self.model(record.model_id) if record.model_id is not None else None
            prepared = method.prepare(MethodInputs(passages, embeddings=embeddings))
            return LoadedRun(record, passages, ties, prepared, None, model, None, None)
        if record.model_id is None or inputs["store"] is None:
            raise UserError(f"Run {record.id} names no model and store.", "Rank again: `proponent rank`.")
        store = GradientStore.open(self.home, inputs["store"])
        model = self.model(record.model_id)
        encoder_key = (record.model_id, inputs["store"])
        encoder = _kept(self._encoders, encoder_key, MODELS, lambda: open_encoder(EncodableModel.of(model), store))
        row_set = method.row_set
        scan_key = (inputs["store"], row_set)
        scan = _kept(self._scans, scan_key, 2 * MODELS, lambda: open_scan(store, row_set, self.device))
        evaluation = EvaluationQueries.open(self.home, inputs["evaluation_store"], partial(load_queries, self.home))
        prepared = method.prepare(MethodInputs(passages, store, evaluation, embeddings))
        indexes = self._indexes(record.id)
        scan.rows.prepare()
        for task in ("", "facts"):  # what a method makes with the first query of a kind is made now
            prepared.score([Query("", task, "", "")], np.zeros((1, store.plan.dims)))
        return LoadedRun(record, passages, ties, prepared, row_set, model, encoder, scan, indexes)

    def _indexes(self, run_id: str) -> RunIndexes | None:
        index_id = newest_index(self.home, run_id) if self.search == "index" else None
        return None if index_id is None else open_indexes(self.home, index_id)

    def _corpus(self, corpus_id: str) -> tuple[list[Passage], np.ndarray]:
        def load() -> tuple[list[Passage], np.ndarray]:
            passages = load_passages(self.home, corpus_id)
            return passages, ties_by_id([passage.id for passage in passages])

        return _kept(self._passages, corpus_id, CORPORA, load)

    def _embeddings(self, record: RunRecord, embedding: str | None) -> Embeddings | None:
        """Of the run's passages, with the embedder of its questions."""
        if embedding is None:
            return None
        embeddings_id = record.manifest["inputs"].get("embeddings")
        if embeddings_id is None:
            raise UserError(f"Run {record.id} names no embeddings.", "Rank again: `proponent rank`.")
        embedder = open_embedder(embedding, lambda: self.model(record.model_id or ""), self.device)
        return Embeddings.open(self.home, embeddings_id, lambda: embedder)

    def answer(self, run: LoadedRun, queries: Sequence[Query], on_stage: OnStage) -> list[Answer | UserError]:
        """The ranking of each question, or why there is none for it."""
        asked: list[_Asked | UserError] = []
        for done, query in enumerate(queries):
            on_stage("gradient", done / len(queries), done)
            try:
                asked.append(self._ask(run, query))
            except UserError as error:
                asked.append(error)
        on_stage("scan", 0.0, None)
        ready = [one for one in asked if isinstance(one, _Asked) and one.index is None]
        started = time.perf_counter()
        rows = iter(self._scores(run, [one.scorer for one in ready], on_stage) if ready else ())
        scan_seconds = time.perf_counter() - started
        return [
            one
            if isinstance(one, UserError)
            else _searched(run, one, one.index, one.vector)
            if one.index is not None and one.vector is not None
            else _reduced(run, one, next(rows), scan_seconds)
            for one in asked
        ]

    def _ask(self, run: LoadedRun, query: Query) -> _Asked:
        started = time.perf_counter()
        gradient, loss = self._gradient(run, query)
        after_gradient = time.perf_counter()
        scoring = run.method.score([query], gradient)
        index, vector = None, None
        if run.indexes is not None and isinstance(run.method, Projected) and gradient is not None:
            group = run.method.groups([query])[0]
            index = run.indexes.by_geometry.get(group)
            vector = run.method.geometries[group].query_search_vectors(gradient)[0]
        return _Asked(
            scorer=scoring.scorer,
            index=index,
            vector=vector,
            facts=scoring.query_facts[0] if scoring.query_facts else {},
            completion_probability=None if loss is None else math.exp(-loss),
            seconds={"gradient": after_gradient - started, "query": time.perf_counter() - after_gradient},
        )

    def _scores(self, run: LoadedRun, scorers: Sequence[Scorer], on_stage: OnStage) -> np.ndarray:
        """Scores of all passages, (questions, passages) float32: of projected methods by one scan for all."""

        def scan_of(store: GradientStore, row_set: str) -> Int8Scan:
            assert run.scan is not None, "only methods that read a store ask for a scan"
            return run.scan

        rows = approximate_scores(scorers, scan_of, lambda done, total: on_stage("scan", done / total, None))
        if run.scan is not None and run.scan.last is not None:
            self._scanned = self._scanned[0] + run.scan.last.bytes, self._scanned[1] + run.scan.last.seconds
        return rows

    def _gradient(self, run: LoadedRun, query: Query) -> tuple[np.ndarray | None, float | None]:
        """(projected gradient (1, dims) float64, loss in nats); None where the method reads no store, or no model."""
        if run.model is None:
            return None, None
        if run.encoder is None or run.row_set is None:
            return None, -math.log(max(completion_probabilities(run.model, [query])[0], sys.float_info.min))
        encoded = run.model.tokenizer.encode_query(query.prompt, query.completion)
        ids = torch.tensor([encoded.ids])
        mask = torch.arange(ids.shape[1])[None] >= encoded.first_target
        batch = run.encoder.encode(ids, mask)
        gradient = batch.rows[run.row_set].cpu().numpy().astype(np.float64)
        loss = float(batch.losses[0])
        if not (np.isfinite(gradient).all() and math.isfinite(loss)):
            raise UserError("The question's gradient is not a finite number.", "Check the model's weights.")
        return gradient, loss

    def complete(self, model_id: str, prompt: str, samples: int, key: str) -> tuple[Generated, list[Generated]]:
        """The greedy completion of a prompt, and draws that depend on ``key`` alone; up to the end of a sentence."""
        loaded = self.model(model_id)
        ids = loaded.tokenizer.encode_prompt(prompt)
        limits = Limits(MOST_NEW_TOKENS, one_sentence=True)
        greedy = decode(loaded, [ids], [limits])[0]
        if not samples:
            return greedy, []
        keys = [f"{key}/{draw}" for draw in range(samples)]
        return greedy, decode(loaded, [ids] * samples, [limits] * samples, sampler(0, keys, MOST_NEW_TOKENS))

    def own_answer(self, model_id: str, query: Query) -> Generated:
        """What the model itself says where the question has a completion: about as long."""
        loaded = self.model(model_id)
        limits = limits_of(loaded, query, GenerationConfig())
        return decode(loaded, [loaded.tokenizer.encode_prompt(query.prompt)], [limits])[0]

    def first_passage(self, run: LoadedRun, query: Query) -> Passage | None:
        """The first proponent of a question in a run that looks at no model (BM25); None if there is none."""
        answer = self.answer(run, [query], lambda stage, share, which: None)[0]
        if isinstance(answer, UserError) or not len(answer.ranking.proponents):
            return None
        return run.passages[int(answer.ranking.proponents[0])]


def _searched(run: LoadedRun, asked: _Asked, index: SearchIndex, vector: np.ndarray) -> Answer:
    """The answer from an index's candidates; its facts say so."""
    started = time.perf_counter()
    ranking = index.ranking(vector, lambda positions: asked.scorer.exact(0, positions), run.ties)
    assert run.indexes is not None
    facts = {**asked.facts, "search": {"index": run.indexes.id, "candidates": index.config.candidates}}
    seconds = {**asked.seconds, "scan": time.perf_counter() - started, "reduce": 0.0}
    return Answer(ranking, facts, asked.completion_probability, seconds)


def _reduced(run: LoadedRun, asked: _Asked, row: np.ndarray, scan_seconds: float) -> Answer:
    started = time.perf_counter()
    ranking = reduce_query(
        row,
        lambda positions: asked.scorer.exact(0, positions),
        run.ties,
        proponents=PROPONENTS,
        opponents=OPPONENTS,
        approximate=run.scan is not None,
    )
    seconds = {**asked.seconds, "scan": scan_seconds, "reduce": time.perf_counter() - started}
    return Answer(ranking, asked.facts, asked.completion_probability, seconds)


def greedy_completion(generated: Generated) -> str:
    """The text of a greedy completion; raises InputError where the model has nothing to add."""
    if not generated.text:
        raise InputError("The model ends here: it has nothing to add to this prompt.", "Give a completion of your own.")
    return generated.text


def _kept(store: OrderedDict[Any, T], key: Any, most: int, make: Callable[[], T]) -> T:
    """A value that was made once, the least recently used ones let go of."""
    if key not in store:
        while len(store) >= most:
            store.popitem(last=False)
        store[key] = make()
    store.move_to_end(key)
    return store[key]
