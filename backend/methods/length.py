"""Passage length: a known confound of gradient scores that are not normalised, and so a baseline beside them.

A loss that is summed over tokens has a gradient that grows with their number. A method whose lists are no better than
these has found nothing but length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.core.records import Query
from backend.core.text import words
from backend.methods.protocol import MethodInputs
from backend.search.scoring import RowScorer, Scoring


@dataclass(frozen=True)
class Length:
    """Words of the passage, the same for every query; at least 1, so that every passage is a proponent.

    Words and not tokens: tokens belong to a model's tokenizer, and what a baseline that looks at no model ranks must
    not change with one. They are BM25's words, and lengths in both go together.
    """

    slug: str = "length"
    row_set: str | None = None

    def config(self) -> dict[str, Any]:
        """The unit."""
        return {"unit": "words"}

    def prepare(self, inputs: MethodInputs) -> PreparedLength:
        """Count."""
        return PreparedLength(np.array([max(1, len(words(passage.text))) for passage in inputs.passages], np.float64))


@dataclass(frozen=True)
class PreparedLength:
    """Words of each passage, (passages,) float64."""

    lengths: np.ndarray

    def score(self, queries: Sequence[Query], gradients: np.ndarray | None) -> Scoring:
        """The same row for all."""
        return Scoring(_LengthScorer(len(queries), self.lengths))


class _LengthScorer(RowScorer):
    def __init__(self, count: int, lengths: np.ndarray) -> None:
        super().__init__(count)
        self._lengths = lengths

    def row(self, query: int) -> np.ndarray:
        """Lengths of all passages."""
        return self._lengths
