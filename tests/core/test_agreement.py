"""Agreement of rankings against scipy, and where it has no meaning."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from backend.core.agreement import overlap_at, shared_rank_correlation

items = st.lists(st.integers(0, 30), unique=True, max_size=30)


@given(left=items, right=items)
def test_correlation_is_spearman_s_over_the_shared(left: list[int], right: list[int]) -> None:
    found = shared_rank_correlation(left, right)
    shared = [item for item in left if item in right]
    if len(shared) < 3:
        assert found is None
        return
    assert found is not None
    assert found[1] == len(shared)
    expected = spearmanr(range(len(shared)), [right.index(item) for item in shared]).statistic
    assert found[0] == pytest.approx(expected, abs=1e-12)


@given(left=items, right=items, k=st.integers(1, 40))
def test_overlap(left: list[int], right: list[int], k: int) -> None:
    found = overlap_at(left, right, k)
    if not left or not right:
        assert found is None
        return
    assert found is not None
    assert 0 <= found <= 1
    assert found == overlap_at(right, left, k)
    assert overlap_at(left, left, k) == 1


def test_overlap_counts_the_top_only() -> None:
    assert overlap_at([1, 2, 3, 4], [4, 3, 2, 1], 2) == 0
    assert overlap_at([1, 2, 3, 4], [4, 3, 2, 1], 3) == pytest.approx(2 / 3)
