"""Rankings against a brute-force sort, ties, signs, distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.core.errors import UserError
from backend.search.reduce import reduce_query, reduce_scores, ties_by_id
from backend.search.scoring import ProjectedScorer, RowScorer
from tests.synthetic_stores import DIMS, write_store


class Fixed(RowScorer):
    """Scores from a matrix."""

    def __init__(self, matrix: np.ndarray) -> None:
        super().__init__(len(matrix))
        self.matrix = matrix

    def row(self, query: int) -> np.ndarray:
        return self.matrix[query]


def brute_force(scores: np.ndarray, ids: list[str], keep: int, sign: int) -> list[int]:
    chosen = [position for position in range(len(ids)) if sign * scores[position] > 0]
    return sorted(chosen, key=lambda position: (-sign * scores[position], ids[position]))[:keep]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 300), st.sampled_from([1, 3, 50]))
def test_rankings_equal_a_brute_force_sort_with_ties_by_id(seed, count, levels):
    random = np.random.default_rng(seed)
    matrix = random.integers(-levels, levels + 1, (3, count)).astype(float)
    ids = [f"p{number}" for number in random.permutation(count)]
    result = reduce_scores(Fixed(matrix), 3, ids, proponents=10, opponents=4)
    for query in range(3):
        for sign, positions, scores in (
            (1, result.proponents, result.proponent_scores),
            (-1, result.opponents, result.opponent_scores),
        ):
            want = brute_force(matrix[query], ids, positions.shape[1], sign)
            got = positions[query][positions[query] >= 0].tolist()
            assert got == want
            assert scores[query][: len(want)].tolist() == matrix[query][want].tolist()
            assert np.isnan(scores[query][len(want) :]).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=200))
def test_distribution_counts_every_passage(values):
    matrix = np.array([values])
    result = reduce_scores(Fixed(matrix), 1, [str(i) for i in range(len(values))])
    assert result.histogram.sum() == len(values)
    assert result.range[0].tolist() == [np.float32(min(values)), np.float32(max(values))]
    assert result.quantiles[0, 0] == np.float32(min(values))
    assert result.quantiles[0, -1] == np.float32(max(values))
    assert (np.diff(result.quantiles[0]) >= -1e-3).all()
    percentiles = result.proponent_percentiles[0]
    kept = percentiles[~np.isnan(percentiles)]
    assert ((kept >= 0) & (kept <= 100)).all()
    stored = result.matrix[0].astype(np.float32) * result.matrix_scales[0]
    np.testing.assert_allclose(stored, np.float32(values), atol=2e-3 * max(1e-3, np.abs(values).max()))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 300), st.sampled_from([1, 3, 50]), st.booleans())
def test_percentiles_are_those_of_all_scores_in_order(seed, count, levels, approximate):
    random = np.random.default_rng(seed)
    scores = random.integers(-levels, levels + 1, count).astype(np.float32)
    ranking = reduce_query(
        scores.copy(),
        lambda at: scores[at].astype(float),
        np.arange(count),
        proponents=10,
        opponents=4,
        approximate=approximate,
    )
    for positions, percentiles in (
        (ranking.proponents, ranking.proponent_percentiles),
        (ranking.opponents, ranking.opponent_percentiles),
    ):
        below = (scores[None] < scores[positions][:, None]).sum(axis=1)
        upto = (scores[None] <= scores[positions][:, None]).sum(axis=1)
        assert percentiles.tolist() == (100.0 * (below + upto) / (2.0 * count)).astype(np.float32).tolist()


def test_exact_scores_replace_approximate_ones():
    exact = np.array([0.9, 2.1, 3.2, -1.5, 0.2])
    scores = np.array([1, 2, 3, -1, 0], np.float32)
    ranking = reduce_query(scores, lambda at: exact[at], np.arange(5), proponents=3, opponents=1, approximate=True)
    assert scores.tolist() == exact.astype(np.float32).tolist()
    assert ranking.proponents.tolist() == [2, 1, 0]
    assert ranking.proponent_scores.tolist() == [3.2, 2.1, 0.9]
    assert ranking.range == (np.float32(-1.5), np.float32(3.2))


def test_nothing_is_kept_where_nothing_is_asked_for():
    scores = np.linspace(-1, 1, 50).astype(np.float32)
    for approximate in (False, True):
        ranking = reduce_query(
            scores, lambda at: scores[at], np.arange(50), proponents=0, opponents=0, approximate=approximate
        )
        assert (len(ranking.proponents), len(ranking.opponents), ranking.scored) == (0, 0, 50)


def test_ties_by_id_is_the_order_of_ids():
    assert ties_by_id(["b", "a", "10", "9"]).tolist() == [3, 2, 0, 1]


def test_one_querys_score_that_is_not_a_number_is_refused():
    scores = np.array([1, np.nan, 2], np.float32)
    with pytest.raises(UserError, match="not a finite number"):
        reduce_query(scores, lambda at: scores[at].astype(float), np.arange(3), proponents=1, opponents=1)


def test_percentile_is_the_share_of_lower_scores():
    result = reduce_scores(Fixed(np.array([[1.0, 2.0, 3.0, 3.0]])), 1, list("abcd"), proponents=4)
    assert result.proponents[0].tolist() == [2, 3, 1, 0]
    assert result.proponent_percentiles[0].tolist() == [75.0, 75.0, 37.5, 12.5]


def test_a_score_that_is_not_a_number_names_the_passage():
    with pytest.raises(UserError, match="'second'"):
        reduce_scores(Fixed(np.array([[1.0, np.nan]])), 1, ["first", "second"])


def test_a_large_matrix_is_not_kept():
    result = reduce_scores(Fixed(np.ones((2, 8))), 2, list("abcdefgh"), matrix_limit_bytes=16)
    assert result.matrix is None


@pytest.mark.parametrize("shards", [1, 4])
def test_projected_scores_are_exact_products(tmp_path, shards):
    random = np.random.default_rng(0)
    rows, queries = random.standard_normal((90, DIMS)), random.standard_normal((4, DIMS))
    store = write_store(tmp_path / "s", rows, shards=shards)
    norms = random.uniform(0.5, 2, (2, 90))
    group = np.array([0, 1, 0, 1])
    scorer = ProjectedScorer(store, "raw", queries * store.plan.scale_vector("raw"), norms, group)
    result = reduce_scores(scorer, 4, [f"{i:03d}" for i in range(90)], proponents=90, opponents=90)
    stored = np.concatenate([block.astype(np.float64) for _, block in store.blocks("raw")])
    want = (queries @ (stored * store.plan.scale_vector("raw")).T) / norms[group]
    for query in range(4):
        order = [p for p in np.argsort(-want[query], kind="stable") if want[query][p] > 0]
        assert result.proponents[query][: len(order)].tolist() == order
        np.testing.assert_allclose(result.proponent_scores[query][: len(order)], want[query][order], rtol=1e-6)
