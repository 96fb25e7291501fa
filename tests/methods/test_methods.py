"""Every method against its definition, and the registry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from backend.core.errors import IncompatibleStores, UserError
from backend.core.records import Passage, Query
from backend.curvature.autocorrelation import mixing_by_crossing, rows_autocorrelation
from backend.methods import registry
from backend.methods.protocol import EvaluationQueries, MethodInputs
from backend.search.reduce import reduce_scores
from backend.search.scoring import Prepared, RowScorer
from tests.oracles.trackstar import trackstar_scores
from tests.synthetic_stores import DIMS, LAYERS, write_store

PASSAGES = [Passage(f"p{i:03d}", f"passage number {i}") for i in range(150)]
QUERIES = [
    *(Query(f"f{i}", "facts", "The capital of X is", "Y") for i in range(30)),
    *(Query(f"a{i}", "arithmetic", "1 + 1 =", "2") for i in range(3)),
]


def matrix(prepared: Prepared, passages: int) -> np.ndarray:
    scores = np.empty((len(QUERIES), passages))
    for tile in prepared.scorer.tiles():
        scores[tile.queries, tile.passages] = tile.scores
    return scores


@pytest.fixture
def inputs(tmp_path):
    random = np.random.default_rng(7)
    spread = random.uniform(0.2, 3, DIMS)
    rows = (random.standard_normal((150, DIMS)) * spread).astype(np.float16).astype(float)
    asked = random.standard_normal((len(QUERIES), DIMS)) * spread[::-1]
    store = write_store(tmp_path / "passages", rows)
    queries = write_store(tmp_path / "queries", asked, dtype="float32", shards=1)
    evaluation = EvaluationQueries("set", queries, np.arange(30))
    return MethodInputs(PASSAGES, QUERIES, store, queries, evaluation), rows, asked


SPANS = [layer.span for layer in LAYERS]


def test_trackstar_is_its_definition(inputs):
    given, rows, asked = inputs
    rows, asked = 2 * rows, 2 * asked.astype(np.float32)
    prepared = registry.find_method("trackstar").prepare(given)
    train, evaluation = rows_autocorrelation(rows, LAYERS), rows_autocorrelation(asked[:30], LAYERS)
    weight = mixing_by_crossing(train, evaluation).weight
    mixed = [weight * e + (1 - weight) * t for e, t in zip(evaluation, train, strict=True)]
    want = np.concatenate(
        [
            trackstar_scores(rows, asked[:30].astype(float), mixed, SPANS),
            trackstar_scores(rows, asked[30:].astype(float), train, SPANS),
        ]
    )
    np.testing.assert_allclose(matrix(prepared, 150), want, atol=3e-4)
    assert prepared.query_facts[0]["lambda"] == pytest.approx(weight)
    assert prepared.query_facts[0]["r_eval"] == {"query_set": "set", "n": 30}
    assert prepared.query_facts[-1]["lambda"] == 0.0
    assert 0.05 < weight < 0.95


def test_general_trackstar_uses_r_train_for_all(inputs):
    given, rows, asked = inputs
    prepared = registry.find_method("trackstar-general").prepare(given)
    want = trackstar_scores(2 * rows, 2 * asked, rows_autocorrelation(2 * rows, LAYERS), SPANS)
    np.testing.assert_allclose(matrix(prepared, 150), want, atol=3e-4)


def test_gradient_dot_and_cosine(inputs):
    given, rows, asked = inputs
    dot = asked @ rows.T
    np.testing.assert_allclose(
        matrix(registry.find_method("gradient-dot").prepare(given), 150), dot, atol=2e-3 * np.abs(dot).max()
    )
    cosine = dot / np.linalg.norm(asked, axis=1)[:, None] / np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(matrix(registry.find_method("gradient-cosine").prepare(given), 150), cosine, atol=2e-3)


def test_the_other_row_set_by_suffix(inputs):
    given, *_ = inputs
    raw, corrected = registry.find_method("gradient-dot"), registry.find_method("gradient-dot-v")
    assert (corrected.slug, corrected.config()["row_set"]) == ("gradient-dot-v", "v")
    np.testing.assert_allclose(matrix(corrected.prepare(given), 150), 4 * matrix(raw.prepare(given), 150), rtol=1e-5)
    assert registry.find_method("trackstar-no-v").config()["row_set"] == "raw"
    for nonsense in ("trackstar-v", "bm25-v", "trackstarr"):
        with pytest.raises(UserError, match="There is no method"):
            registry.find_method(nonsense)


def test_differently_projected_stores_refuse_to_be_compared(inputs, tmp_path):
    given, _, asked = inputs
    other = write_store(tmp_path / "other", asked, fingerprint={"model": "m", "rank": 4, "seed": 1})
    with pytest.raises(IncompatibleStores, match="differ in their seed"):
        registry.find_method("gradient-dot").prepare(MethodInputs(PASSAGES, QUERIES, given.store, other))


def test_bm25_by_hand():
    texts = ["the cat sat", "the dog sat on the cat", "a bird", ""]
    passages = [Passage(str(i), text) for i, text in enumerate(texts)]
    query = Query("q", "facts", "Cat", "sat zebra")
    prepared = registry.find_method("bm25").prepare(MethodInputs(passages, [query]))
    documents = [text.split() for text in texts]
    mean_length = (3 + 6 + 2 + 1) / 4
    want = []
    for words in documents:
        score, length = 0.0, len(words) or 1
        for word in ("cat", "sat"):
            holding = sum(word in other for other in documents)
            idf = np.log(1 + (4 - holding + 0.5) / (holding + 0.5))
            count = words.count(word)
            score += idf * count / (count + 1.5 * (1 - 0.75 + 0.75 * length / mean_length))
        want.append(score)
    np.testing.assert_allclose(prepared.scorer.exact(0, np.arange(4)), want, rtol=1e-5)


def test_bm25_of_unknown_words_scores_nothing():
    passages = [Passage("a", "some text"), Passage("b", "...")]
    prepared = registry.find_method("bm25").prepare(MethodInputs(passages, [Query("q", "facts", "Zebra", "!")]))
    result = reduce_scores(prepared.scorer, 1, ["a", "b"])
    assert (result.proponents == -1).all()
    assert (result.opponents == -1).all()


def test_random_depends_on_the_query_alone():
    first = registry.find_method("random").prepare(MethodInputs(PASSAGES, QUERIES))
    second = registry.find_method("random").prepare(MethodInputs(PASSAGES, QUERIES[::-1]))
    everything = np.arange(150)
    assert (first.scorer.exact(0, everything) == second.scorer.exact(len(QUERIES) - 1, everything)).all()
    assert (first.scorer.exact(0, everything) != first.scorer.exact(1, everything)).any()


def test_an_own_method_is_one_class_and_one_registration(monkeypatch):
    class Lengths(RowScorer):
        def row(self, query: int) -> np.ndarray:
            return np.array([float(len(passage.text)) for passage in PASSAGES])

    @dataclass(frozen=True)
    class Length:
        slug: str = "length-of-text"
        row_set: str | None = None

        def config(self):
            return {}

        def prepare(self, inputs):
            return Prepared(Lengths(len(inputs.queries)))

    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    registry.register(Length())
    prepared = registry.find_method("length-of-text").prepare(MethodInputs(PASSAGES, QUERIES))
    result = reduce_scores(prepared.scorer, len(QUERIES), [passage.id for passage in PASSAGES])
    assert result.proponents[0, 0] == 100
    with pytest.raises(UserError, match="already a method"):
        registry.register(Length())
