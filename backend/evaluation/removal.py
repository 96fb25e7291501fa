"""Removal: take away what a method ranks first for some queries, train again, and see how much is lost.

Queries are taken in groups, the first k passages of all of a group away at once: so one training serves a whole group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.core.errors import InputError


@dataclass(frozen=True)
class RemovalConfig:
    """What is taken away."""

    k: int = 10
    """Passages of each query's list, from its first."""
    queries: int = 40
    group: int = 10
    """Queries whose passages are taken away together."""
    seeds: int = 2
    """Trainings of each group."""
    seed: int = 0
    """Of the sample of queries, and the first of the trainings' seeds."""

    def __post_init__(self) -> None:
        if min(self.k, self.queries, self.group, self.seeds) < 1:
            raise InputError("Removal needs at least one passage, query and training.", "Give positive numbers.")


def query_groups(queries: int, config: RemovalConfig) -> list[np.ndarray]:
    """Rows of the drawn queries in groups, as even as can be."""
    order = np.random.RandomState(config.seed % 2**32).permutation(queries)[: config.queries]
    return np.array_split(order, -(-len(order) // config.group))


def kept_without(proponents: np.ndarray, group: np.ndarray, k: int, passages: int) -> np.ndarray:
    """(passages,) bool: false for the first k proponents (positions, -1 behind the last) of a group's queries."""
    kept = np.ones(passages, bool)
    listed = proponents[group, :k]
    kept[listed[listed >= 0]] = False
    return kept


def loss_changes(groups: Sequence[np.ndarray], whole: np.ndarray, without: Sequence[np.ndarray]) -> np.ndarray:
    """How much each query's loss rises by its group's removal, in nats, mean over seeds, in the order of the groups.

    ``whole`` (seeds, queries) and, for each group, ``without`` (seeds, queries) are log-probabilities.
    """
    return np.concatenate(
        [(whole - after)[:, group].mean(axis=0) for group, after in zip(groups, without, strict=True)]
    )
