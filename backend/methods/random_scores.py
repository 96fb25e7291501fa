"""Random scores: the floor that every method must be above."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.core.records import Query
from backend.methods.protocol import MethodInputs
from backend.search.scoring import RowScorer, Scoring


@dataclass(frozen=True)
class Random:
    """Independent normal scores, seeded by the query's id."""

    slug: str = "random"
    row_set: str | None = None
    seed: int = 0

    def config(self) -> dict[str, Any]:
        """The seed."""
        return {"seed": self.seed}

    def prepare(self, inputs: MethodInputs) -> PreparedRandom:
        """Nothing but to count the passages."""
        return PreparedRandom(len(inputs.passages), self.seed)


@dataclass(frozen=True)
class PreparedRandom:
    """A number of passages and a seed."""

    passages: int
    seed: int

    def score(self, queries: Sequence[Query], gradients: np.ndarray | None) -> Scoring:
        """Draw when asked for a row."""
        return Scoring(_RandomScorer(queries, self.passages, self.seed))


class _RandomScorer(RowScorer):
    def __init__(self, queries: Sequence[Query], passages: int, seed: int) -> None:
        super().__init__(len(queries))
        self._queries, self._passages, self._seed = queries, passages, seed

    def row(self, query: int) -> np.ndarray:
        """Scores of all passages."""
        digest = hashlib.sha256(f"{self._seed}/{self._queries[query].id}".encode()).digest()
        return np.random.RandomState(np.frombuffer(digest, np.uint32)).standard_normal(self._passages)
