"""LDS: Spearman against scipy's own, a truth that is known, its ceiling and its intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from backend.evaluation.lds import ceiling, lds, mean_with_interval, random_halves, spearman

PASSAGES, SUBSETS, QUERIES = 60, 40, 12


def test_spearman_is_scipy_s_with_ties_too() -> None:
    random = np.random.default_rng(0)
    left, right = random.integers(0, 6, (30, 8)), random.normal(size=(30, 8))
    expected = [spearmanr(left[:, column], right[:, column]).statistic for column in range(8)]
    assert spearman(left, right) == pytest.approx(expected, abs=1e-12)


def test_a_constant_column_has_no_correlation() -> None:
    assert spearman(np.ones((5, 1)), np.arange(5.0)[:, None]).tolist() == [0.0]


def test_halves_hold_half_and_do_not_depend_on_how_many_there_are() -> None:
    halves = random_halves(PASSAGES, SUBSETS, seed=3)
    assert set(halves.sum(axis=1)) == {PASSAGES // 2}
    assert (random_halves(PASSAGES, 5, seed=3) == halves[:5]).all()
    assert not (random_halves(PASSAGES, SUBSETS, seed=4) == halves).all()
    assert random_halves(7, 2, seed=0).sum() == 6
    share = halves.mean(axis=0)
    assert (share > 0.15).all()
    assert (share < 0.85).all(), "every passage is in some halves and out of others"


@pytest.fixture
def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Halves, what each passage adds to each query's log-probability, and what trainings show: exactly its sums."""
    kept = random_halves(PASSAGES, SUBSETS, seed=0)
    effects = np.random.default_rng(1).normal(size=(QUERIES, PASSAGES))
    shown = np.repeat((kept @ effects.T)[:, None], 3, axis=1)
    return kept, effects, shown - 7.0


def test_who_knows_the_effects_has_one_who_turns_them_round_minus_one(truth) -> None:
    kept, effects, shown = truth
    assert lds(kept, effects, shown) == pytest.approx(np.ones(QUERIES))
    assert lds(kept, 5 * effects + 2, shown) == pytest.approx(np.ones(QUERIES)), "halves are of one size"
    assert lds(kept, -effects, shown) == pytest.approx(-np.ones(QUERIES))
    assert lds(kept, np.ones_like(effects), shown).tolist() == [0.0] * QUERIES


def test_who_knows_nothing_has_about_none_and_a_noisy_guess_is_between(truth) -> None:
    kept, effects, shown = truth
    random = np.random.default_rng(2)
    noise = random.normal(size=effects.shape)
    assert abs(lds(kept, noise, shown).mean()) < 0.2
    between = lds(kept, effects + noise, shown).mean()
    assert 0.4 < between < 0.95


def test_the_ceiling_is_what_seeds_share(truth) -> None:
    _, _, shown = truth
    assert ceiling(shown) == pytest.approx(np.ones(QUERIES))
    noise = np.random.default_rng(3).normal(size=shown.shape)
    assert abs(ceiling(noise).mean()) < 0.2
    some = ceiling(shown + 5 * noise).mean()
    assert 0.2 < some < 0.9
    two = shown[:, :2] + noise[:, :2]
    assert ceiling(two) == pytest.approx(spearman(two[:, 0], two[:, 1])), "of two seeds: their own correlation"


def test_an_interval_holds_its_mean_shrinks_with_queries_and_is_the_seed_s() -> None:
    values = np.random.default_rng(4).normal(0.3, 0.2, 400)
    few, many = mean_with_interval(values[:25], seed=0), mean_with_interval(values, seed=0)
    for found, of in ((few, values[:25]), (many, values)):
        assert found.low < found.value < found.high
        assert found.value == pytest.approx(of.mean())
        assert found.n == len(of)
    assert many.high - many.low < few.high - few.low
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.2 / np.sqrt(400), rel=0.2)
    assert mean_with_interval(values, seed=0) == many
    assert mean_with_interval(np.array([0.5]), seed=0).low == 0.5
