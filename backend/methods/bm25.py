"""BM25 (k1 1.5, b 0.75) over passages, the query being prompt + completion: what word overlap alone finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bm25s
import numpy as np

from backend.core.records import Passage, Query
from backend.core.text import join_query, words
from backend.methods.protocol import MethodInputs
from backend.search.scoring import RowScorer, Scoring


@dataclass(frozen=True)
class BM25:
    """Lucene's BM25 over lower-case words, without stemming or stop words."""

    slug: str = "bm25"
    row_set: str | None = None
    k1: float = 1.5
    b: float = 0.75

    def config(self) -> dict[str, Any]:
        """k1 and b."""
        return {"k1": self.k1, "b": self.b, "variant": "lucene"}

    def prepare(self, inputs: MethodInputs) -> PreparedBM25:
        """Index the passages."""
        return PreparedBM25(inputs.passages, self.k1, self.b)


class PreparedBM25:
    """An index of all passages."""

    def __init__(self, passages: Sequence[Passage], k1: float, b: float) -> None:
        self._size = len(passages)
        self._index = bm25s.BM25(k1=k1, b=b, method="lucene")
        # One word that no query can hold keeps an index of wordless passages from being empty.
        self._index.index([words(passage.text) or ["\x00"] for passage in passages], show_progress=False)

    def score(self, queries: Sequence[Query], gradients: np.ndarray | None) -> Scoring:
        """Look the words of prompt and completion up."""
        return Scoring(_BM25Scorer(self._index, self._size, queries))


class _BM25Scorer(RowScorer):
    def __init__(self, index: bm25s.BM25, size: int, queries: Sequence[Query]) -> None:
        super().__init__(len(queries))
        self._index, self._size = index, size
        self._queries = [words(join_query(query.prompt, query.completion)[0]) for query in queries]

    def row(self, query: int) -> np.ndarray:
        """Scores of all passages; a word that no passage holds counts nothing."""
        known = [word for word in self._queries[query] if word in self._index.vocab_dict]
        if not known:
            return np.zeros(self._size)
        return np.asarray(self._index.get_scores(known), dtype=np.float64)
