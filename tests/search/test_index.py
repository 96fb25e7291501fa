"""An index of search vectors: inner products are the method's scores, and nothing but candidates comes from it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from backend.core.errors import CorruptArtifact, UserError
from backend.core.files import sha256_of
from backend.core.records import Passage, Query
from backend.methods.projected import Projected
from backend.methods.protocol import EvaluationQueries, MethodInputs
from backend.methods.registry import find_method
from backend.search.index import IndexConfig, SearchIndex, empty_index, estimate_size, write_index
from backend.search.reduce import reduce_query, ties_by_id
from tests.synthetic_stores import DIMS, write_store

ROWS = 300
QUERIES = [Query(f"q{n}", "facts" if n % 2 else "arithmetic", "", "") for n in range(6)]
METHODS = ["gradient-dot", "gradient-cosine", "logra", "logra-relatif", "trak", "trackstar", "trackstar-dot"]


@pytest.fixture
def prepared(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Projected, np.ndarray]:
    """A method over random rows, one of them zero, and gradients of six queries, three of them facts."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(ROWS, DIMS)) * random.uniform(0.1, 3, DIMS)
    rows[7] = 0
    store = write_store(tmp_path / "rows", rows)
    queries = write_store(tmp_path / "queries", random.normal(size=(len(QUERIES), DIMS)), dtype="float32")
    passages = [Passage(f"p{n}", "") for n in range(ROWS)]
    method = find_method(request.param)
    evaluation = EvaluationQueries.of_facts("set", queries, QUERIES)
    made = method.prepare(MethodInputs(passages, store, evaluation))
    assert isinstance(made, Projected)
    return made, queries.values(method.row_set)


@pytest.mark.parametrize("prepared", METHODS, indirect=True)
def test_inner_products_of_search_vectors_are_the_scores(prepared):
    method, gradients = prepared
    scorer = method.score(QUERIES, gradients).scorer
    everything = np.arange(ROWS)
    for row, group in enumerate(method.groups(QUERIES)):
        geometry = method.geometries[group]
        vector = geometry.query_search_vectors(gradients[row : row + 1])[0]
        products = geometry.passage_search_vectors(everything) @ vector
        scores = scorer.exact(row, everything)
        assert np.abs(products - scores).max() <= 1e-5 * np.abs(scores).max()
        assert products[7] == 0


@pytest.mark.parametrize("prepared", ["trackstar", "trak"], indirect=True)
def test_a_flat_index_finds_what_the_exact_scan_finds(prepared, tmp_path):
    method, gradients = prepared
    config = IndexConfig("Flat", candidates=200)
    ties = ties_by_id([f"p{n}" for n in range(ROWS)])
    scorer = method.score(QUERIES, gradients).scorer
    full = np.concatenate([tile.scores for tile in scorer.tiles()], axis=1)
    for row, group in enumerate(method.groups(QUERIES)):
        geometry, path = method.geometries[group], tmp_path / f"{group}.faiss"
        write_index(path, config, DIMS, ROWS, geometry.passage_search_vectors)
        index = SearchIndex.open(path, sha256_of(path), config, (ROWS, DIMS))
        exact = partial(scorer.exact, row)
        found = index.ranking(geometry.query_search_vectors(gradients[row : row + 1])[0], exact, ties)
        wanted = reduce_query(full[row].copy(), exact, ties, proponents=100, opponents=20)
        assert found.proponents.tolist() == wanted.proponents.tolist()
        assert found.proponent_scores.tolist() == wanted.proponent_scores.tolist()
        assert found.opponents.tolist() == wanted.opponents.tolist()


@pytest.mark.parametrize("factory", ["HR,RaBitQ2", "SQ8", "IVF4,SQ8", "RaBitQ,Refine(SQfp16)"])
def test_other_factories_find_most_and_are_no_larger_than_estimated(factory, tmp_path):
    random = np.random.default_rng(1)
    centres = random.normal(size=(4, 64))
    rows = (centres[random.integers(0, 4, 2000)] + 0.5 * random.normal(size=(2000, 64))).astype(np.float32)
    config, path = IndexConfig(factory, sample=500, candidates=500), tmp_path / "made.faiss"
    asked: list[int] = []

    def vectors(positions: np.ndarray) -> np.ndarray:
        asked.append(len(positions))
        return rows[positions]

    write_index(path, config, 64, 2000, vectors)
    assert max(asked) <= 1024, "vectors come block by block"
    assert path.stat().st_size <= estimate_size(config, 64, 2000).disk
    index = SearchIndex.open(path, sha256_of(path), config, (2000, 64))
    query = (centres[0] + 0.5 * random.normal(size=64)).astype(np.float32)
    best = np.argsort(-(rows @ query))[:20]
    assert np.isin(best, index.candidates(query, 500)).mean() >= 0.95


def test_a_file_that_is_not_what_the_manifest_says_is_named(tmp_path):
    path, config = tmp_path / "made.faiss", IndexConfig("Flat")
    write_index(path, config, 8, 50, lambda positions: np.ones((len(positions), 8), np.float32))
    good = sha256_of(path)
    with pytest.raises(CorruptArtifact, match="not 50 x 9"):
        SearchIndex.open(path, good, config, (50, 9))
    whole = path.read_bytes()
    for damaged in (whole[:-40], b"XXXX" + whole[4:], b""):
        path.write_bytes(damaged)
        with pytest.raises(CorruptArtifact, match=r"made\.faiss.*SHA-256"):
            SearchIndex.open(path, good, config, (50, 8))
        with pytest.raises(CorruptArtifact, match="no index that FAISS can read"):
            SearchIndex.open(path, sha256_of(path), config, (50, 8))
    path.unlink()
    with pytest.raises(CorruptArtifact, match="missing"):
        SearchIndex.open(path, good, config, (50, 8))


def test_factories_that_cannot_be_right_are_refused():
    with pytest.raises(UserError, match="no index 'nonsense'"):
        empty_index("nonsense", 16)
    with pytest.raises(UserError, match="FastScan"):
        empty_index("RaBitQfs", 4032)
    empty_index("RaBitQfs", 1024)
    with pytest.raises(UserError, match="FastScan"):
        empty_index("HR,RaBitQfs", 4032)


def test_what_faiss_cannot_train_is_a_user_s_error(tmp_path):
    with pytest.raises(UserError, match="cannot make"):
        write_index(
            tmp_path / "x", IndexConfig("IVF64,Flat", sample=3), 8, 50, lambda p: np.ones((len(p), 8), np.float32)
        )
    assert not list(tmp_path.iterdir())
