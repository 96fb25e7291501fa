"""What a method hands to the reducer: scores of all passages for all queries, tile by tile."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Tile:
    """A rectangle of the score matrix: (queries, passages) float32."""

    queries: slice
    passages: slice
    scores: np.ndarray


class Scorer(Protocol):
    """Scores of a fixed set of queries against a fixed corpus.

    ``tiles`` covers the matrix once, in the order that is cheapest for the method: blocks of a store for all
    queries, or all passages for one query. ``exact`` gives the same scores in float64 for a few passages, to order
    the best ones reproducibly.
    """

    def tiles(self) -> Iterator[Tile]:
        """Every tile of the score matrix."""
        ...

    def exact(self, query: int, passages: np.ndarray) -> np.ndarray:
        """Scores of some passages (positions) for one query, float64."""
        ...


@dataclass(frozen=True)
class Scoring:
    """A scorer of some queries, together with what the method found about them."""

    scorer: Scorer
    facts: dict[str, Any] = field(default_factory=dict)
    """About the run."""
    query_facts: list[dict[str, Any]] = field(default_factory=list)
    """About each query (lambda, k, R_eval's query set and size); empty where there is nothing to say."""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """Kept beside the rankings, by file name (``norms.f32``)."""


class RowScorer(ABC):
    """A scorer for methods that give all passages of one query at once in float64."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._last: tuple[int, np.ndarray] | None = None

    @abstractmethod
    def row(self, query: int) -> np.ndarray:
        """Scores of all passages for one query, float64."""

    def tiles(self) -> Iterator[Tile]:
        """One tile a query."""
        for query in range(self.count):
            row = self._kept_row(query).astype(np.float32)
            yield Tile(slice(query, query + 1), slice(0, len(row)), row[None])

    def exact(self, query: int, passages: np.ndarray) -> np.ndarray:
        """Scores of some passages for one query; asked for proponents, then opponents, its row is made once."""
        return self._kept_row(query)[passages]

    def _kept_row(self, query: int) -> np.ndarray:
        if self._last is None or self._last[0] != query:
            self._last = query, self.row(query)
        return self._last[1]


class ProjectedScorer:
    """``stored rows . query vector / norm``: every method that reads a gradient store."""

    def __init__(self, store: Any, row_set: str, queries: np.ndarray, norms: np.ndarray, group: np.ndarray) -> None:
        """Queries (Q, dims) float64 are already preconditioned, normalised and multiplied by the store's scales.

        ``norms`` (groups, rows) float64 divides the scores of the queries whose ``group`` (Q,) it is.
        """
        self.store, self.row_set, self.vectors = store, row_set, queries
        self._group = group
        with np.errstate(divide="ignore"):
            self._inverse = np.where(norms > 0, 1.0 / norms, 0.0)

    def tiles(self) -> Iterator[Tile]:
        """Blocks of the store for all queries."""
        queries = self.vectors.astype(np.float32)
        for start, block in self.store.blocks(self.row_set):
            at = slice(start, start + len(block))
            scores = queries @ block.astype(np.float32).T
            scores *= self._inverse[self._group, at].astype(np.float32)
            yield Tile(slice(0, len(queries)), at, scores)

    def inverse_norms(self, query: int) -> np.ndarray:
        """1 / n_m of every passage as a query has it, (rows,) float32; 0 where the norm is 0."""
        return self._inverse[self._group[query]].astype(np.float32)

    def exact(self, query: int, passages: np.ndarray) -> np.ndarray:
        """Scores in float64 from the stored fp16 rows."""
        rows = self.store.gather(self.row_set, passages).astype(np.float64)
        scores = np.einsum("nd,d->n", rows, self.vectors[query])
        return scores * self._inverse[self._group[query], passages]
