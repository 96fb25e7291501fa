"""Removal: what is taken away, and how changes are read off the trainings."""

from __future__ import annotations

import numpy as np
import pytest

from backend.core.errors import InputError
from backend.evaluation.removal import RemovalConfig, kept_without, loss_changes, query_groups


def test_groups_part_the_drawn_queries() -> None:
    groups = query_groups(50, RemovalConfig(queries=25, group=10, seed=1))
    assert sorted(map(len, groups)) == [8, 8, 9]
    drawn = np.concatenate(groups)
    assert len(set(drawn.tolist())) == 25
    assert sorted(np.concatenate(query_groups(6, RemovalConfig(queries=25, group=4))).tolist()) == list(range(6))


def test_the_first_k_of_each_query_of_a_group_go_once() -> None:
    lists = np.array([[3, 1, 4], [1, 5, -1], [9, 2, 6]], np.int32)
    kept = kept_without(lists, np.array([0, 1]), 2, 10)
    assert np.flatnonzero(~kept).tolist() == [1, 3, 5]
    assert np.flatnonzero(~kept_without(lists, np.array([1]), 3, 10)).tolist() == [1, 5]


def test_a_rise_of_the_loss_is_positive_and_of_the_group_s_own_queries() -> None:
    groups = [np.array([2, 0]), np.array([1])]
    whole = np.array([[-1.0, -2.0, -3.0], [-1.0, -2.0, -5.0]])
    without = [whole - np.array([0.5, 100.0, 1.5]), whole + np.array([100.0, 0.25, 100.0])]
    assert loss_changes(groups, whole, without).tolist() == [1.5, 0.5, -0.25]


def test_nothing_to_remove_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        RemovalConfig(k=0)
