"""Every method against its definition, and the registry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from backend.core.errors import UserError
from backend.core.records import Passage, Query
from backend.curvature.autocorrelation import mixing_by_crossing, rows_autocorrelation
from backend.curvature.preconditioner import Preconditioner
from backend.methods import registry
from backend.methods.protocol import EvaluationQueries, MethodInputs, store_projection
from backend.search.reduce import reduce_scores
from backend.search.scoring import RowScorer, Scoring
from tests.oracles.trackstar import trackstar_scores
from tests.synthetic_stores import DIMS, LAYERS, write_store

PASSAGES = [Passage(f"p{i:03d}", f"passage number {i}") for i in range(150)]
QUERIES = [
    *(Query(f"f{i}", "facts", "The capital of X is", "Y") for i in range(30)),
    *(Query(f"a{i}", "arithmetic", "1 + 1 =", "2") for i in range(3)),
]


def score(slug: str, given: MethodInputs, asked: np.ndarray | None = None, queries=QUERIES) -> Scoring:
    return registry.find_method(slug).prepare(given).score(queries, asked)


def matrix(scoring: Scoring, passages: int) -> np.ndarray:
    scores = np.empty((len(QUERIES), passages))
    for tile in scoring.scorer.tiles():
        scores[tile.queries, tile.passages] = tile.scores
    return scores


@pytest.fixture
def inputs(tmp_path):
    random = np.random.default_rng(7)
    spread = random.uniform(0.2, 3, DIMS)
    rows = (random.standard_normal((150, DIMS)) * spread).astype(np.float16).astype(float)
    asked = (random.standard_normal((len(QUERIES), DIMS)) * spread[::-1]).astype(np.float32).astype(float)
    store = write_store(tmp_path / "passages", rows)
    queries = write_store(tmp_path / "queries", asked, dtype="float32", shards=1)
    evaluation = EvaluationQueries("set", queries, np.arange(30))
    return MethodInputs(PASSAGES, store, evaluation), rows, asked


SPANS = [layer.span for layer in LAYERS]


def test_trackstar_is_its_definition(inputs):
    given, rows, asked = inputs
    rows, asked = 2 * rows, 2 * asked
    scoring = score("trackstar", given, asked)
    train, evaluation = rows_autocorrelation(rows, LAYERS), rows_autocorrelation(asked[:30], LAYERS)
    weight = mixing_by_crossing(train, evaluation).weight
    mixed = [weight * e + (1 - weight) * t for e, t in zip(evaluation, train, strict=True)]
    want = np.concatenate(
        [
            trackstar_scores(rows, asked[:30], mixed, SPANS),
            trackstar_scores(rows, asked[30:], train, SPANS),
        ]
    )
    np.testing.assert_allclose(matrix(scoring, 150), want, atol=3e-4)
    assert scoring.query_facts[0]["lambda"] == pytest.approx(weight)
    assert scoring.query_facts[0]["r_eval"] == {"query_set": "set", "n": 30}
    assert scoring.query_facts[-1]["lambda"] == 0.0
    assert 0.05 < weight < 0.95


def test_general_trackstar_uses_r_train_for_all(inputs):
    given, rows, asked = inputs
    scoring = score("trackstar-general", given, 2 * asked)
    want = trackstar_scores(2 * rows, 2 * asked, rows_autocorrelation(2 * rows, LAYERS), SPANS)
    np.testing.assert_allclose(matrix(scoring, 150), want, atol=3e-4)


def test_gradient_dot_and_cosine(inputs):
    given, rows, asked = inputs
    dot = asked @ rows.T
    np.testing.assert_allclose(matrix(score("gradient-dot", given, asked), 150), dot, atol=2e-3 * np.abs(dot).max())
    cosine = dot / np.linalg.norm(asked, axis=1)[:, None] / np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(matrix(score("gradient-cosine", given, asked), 150), cosine, atol=2e-3)


def test_the_other_row_set_by_suffix(inputs):
    given, _, asked = inputs
    corrected = registry.find_method("gradient-dot-v")
    assert (corrected.slug, corrected.config()["row_set"]) == ("gradient-dot-v", "v")
    raw = matrix(score("gradient-dot", given, asked), 150)
    np.testing.assert_allclose(matrix(score("gradient-dot-v", given, 2 * asked), 150), 4 * raw, rtol=1e-5)
    assert registry.find_method("trackstar-no-v").config()["row_set"] == "raw"
    for nonsense in ("trackstar-v", "bm25-v", "trackstarr"):
        with pytest.raises(UserError, match="There is no method"):
            registry.find_method(nonsense)


def test_the_other_kind_of_store_by_suffix(inputs):
    given, _, asked = inputs
    for slug, row_set in (("logra-pca", "raw"), ("logra-v-pca", "v"), ("trackstar-no-v-pca", "raw")):
        method, plain = registry.find_method(slug), registry.find_method(slug.removesuffix("-pca"))
        assert (method.slug, method.row_set, store_projection(method)) == (slug, row_set, "pca")
        assert method.config() == {**plain.config(), "projection": "pca"}
        assert store_projection(plain) == "random"
        assert (matrix(score(slug, given, asked), 150) == matrix(score(plain.slug, given, asked), 150)).all()
    for nonsense in ("bm25-pca", "logra-pca-v", "logra-pca-pca", "trackstar-v-pca"):
        with pytest.raises(UserError, match="There is no method"):
            registry.find_method(nonsense)


def test_a_prepared_method_scores_any_queries_any_number_of_times(inputs):
    given, _, asked = inputs
    method = registry.find_method("trackstar").prepare(given)
    everything = matrix(method.score(QUERIES, asked), 150)
    for at in (32, 0, 31, 0):
        scoring = method.score(QUERIES[at : at + 1], asked[at : at + 1])
        alone = scoring.scorer.exact(0, np.arange(150))
        np.testing.assert_allclose(alone, everything[at], atol=1e-6)
        assert len(scoring.query_facts) == 1
    assert (matrix(method.score(QUERIES, asked), 150) == everything).all()


def test_norms_are_made_when_a_query_asks_for_them_and_kept(inputs, monkeypatch):
    given, _, asked = inputs
    made = []
    original = Preconditioner.store_norms

    def counted(self, store, row_set):
        made.append(self)
        return original(self, store, row_set)

    monkeypatch.setattr(Preconditioner, "store_norms", counted)
    method = registry.find_method("trackstar").prepare(given)
    assert made == []
    assert method.score(QUERIES[30:], asked[30:]).arrays["norms.f32"].shape == (1, 150)
    assert len(made) == 1
    norms = method.score(QUERIES[:30], asked[:30]).arrays["norms.f32"]
    assert norms.shape == (2, 150)
    assert (norms[0] == 1).all()
    assert len(made) == 2
    method.score(QUERIES, asked)
    assert len(made) == 2


def test_a_projected_method_without_its_store_or_gradients_is_refused(inputs):
    given, _, asked = inputs
    with pytest.raises(UserError, match="needs a gradient store"):
        registry.find_method("trackstar").prepare(MethodInputs(PASSAGES))
    for wrong in (None, asked[:5], asked[:, :5]):
        with pytest.raises(ValueError, match="gradients must have shape"):
            score("gradient-dot", given, wrong)


def test_bm25_by_hand():
    texts = ["the cat sat", "the dog sat on the cat", "a bird", ""]
    passages = [Passage(str(i), text) for i, text in enumerate(texts)]
    query = Query("q", "facts", "Cat", "sat zebra")
    scoring = score("bm25", MethodInputs(passages), queries=[query])
    documents = [text.split() for text in texts]
    mean_length = (3 + 6 + 2 + 1) / 4
    want = []
    for words in documents:
        total, length = 0.0, len(words) or 1
        for word in ("cat", "sat"):
            holding = sum(word in other for other in documents)
            idf = np.log(1 + (4 - holding + 0.5) / (holding + 0.5))
            count = words.count(word)
            total += idf * count / (count + 1.5 * (1 - 0.75 + 0.75 * length / mean_length))
        want.append(total)
    np.testing.assert_allclose(scoring.scorer.exact(0, np.arange(4)), want, rtol=1e-5)


def test_bm25_of_unknown_words_scores_nothing():
    passages = [Passage("a", "some text"), Passage("b", "...")]
    scoring = score("bm25", MethodInputs(passages), queries=[Query("q", "facts", "Zebra", "!")])
    result = reduce_scores(scoring.scorer, 1, ["a", "b"])
    assert (result.proponents == -1).all()
    assert (result.opponents == -1).all()


def test_random_depends_on_the_query_alone():
    first = score("random", MethodInputs(PASSAGES))
    second = score("random", MethodInputs(PASSAGES), queries=QUERIES[::-1])
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
            return self

        def score(self, queries, gradients):
            return Scoring(Lengths(len(queries)))

    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    registry.register(Length())
    scoring = score("length-of-text", MethodInputs(PASSAGES))
    result = reduce_scores(scoring.scorer, len(QUERIES), [passage.id for passage in PASSAGES])
    assert result.proponents[0, 0] == 100
    with pytest.raises(UserError, match="already a method"):
        registry.register(Length())
