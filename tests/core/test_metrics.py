"""Retrieval metrics by hand, and frequency buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.metrics import (
    BUCKETS,
    RetrievalMetrics,
    by_task_and_bucket,
    frequency_bucket,
    mean,
    retrieval_metrics,
)


def test_metrics_by_hand():
    ranked = [f"p{i}" for i in range(100)]
    assert retrieval_metrics(ranked, {"p2", "p4", "p50"}) == RetrievalMetrics(1 / 3, 1.0, 0.0, 0.2)
    assert retrieval_metrics(ranked, {"p0"}) == RetrievalMetrics(1.0, 1.0, 1.0, 0.1)
    assert retrieval_metrics(ranked, {"p10"}) == RetrievalMetrics(1 / 11, 0.0, 0.0, 0.0)
    assert retrieval_metrics(ranked, {"elsewhere"}) == RetrievalMetrics(0.0, 0.0, 0.0, 0.0)
    assert retrieval_metrics([], {"p0"}) == RetrievalMetrics(0.0, 0.0, 0.0, 0.0)
    assert retrieval_metrics(ranked, set()) is None
    assert retrieval_metrics(ranked, None) is None


@given(st.lists(st.integers(0, 30), unique=True, max_size=30), st.sets(st.integers(0, 30), min_size=1))
def test_metrics_agree_with_their_definitions(ranked, entails):
    names, wanted = [str(i) for i in ranked], {str(i) for i in entails}
    metrics = retrieval_metrics(names, wanted)
    first = [rank for rank, name in enumerate(names, 1) if name in wanted][:1]
    assert metrics.reciprocal_rank == (1 / first[0] if first else 0)
    assert metrics.recall_at_10 == float(bool(set(names[:10]) & wanted))
    assert metrics.precision_at_10 == len(set(names[:10]) & wanted) / 10


def test_buckets():
    assert [frequency_bucket(n) for n in (0, 1, 2, 4, 5, 9, 10, 49, 50, 5000)] == [
        "0", "1", "2-4", "2-4", "5-9", "5-9", "10-49", "10-49", "50+", "50+",
    ]  # fmt: skip
    assert frequency_bucket(None) is None
    assert {frequency_bucket(n) for n in range(60)} == set(BUCKETS)
    with pytest.raises(ValueError, match="negative"):
        frequency_bucket(-1)


def test_mean_of_nothing_is_none():
    assert mean([]) is None
    assert mean([1.0, 2.0]) == 1.5


def test_a_value_is_in_the_cells_of_its_task_of_its_bucket_and_of_all_once_each():
    cells = by_task_and_bucket([("facts", "10-49", 1), ("facts", "2-4", 2), ("arithmetic", None, 3)])
    assert cells == {
        ("", ""): [1, 2, 3],
        ("", "2-4"): [2],
        ("", "10-49"): [1],
        ("arithmetic", ""): [3],
        ("facts", ""): [1, 2],
        ("facts", "2-4"): [2],
        ("facts", "10-49"): [1],
    }
    assert list(cells)[:3] == [("", ""), ("", "2-4"), ("", "10-49")]
