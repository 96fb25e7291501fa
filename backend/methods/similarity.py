"""Cosine of embeddings: dense retrieval (a sentence model) and representation similarity (the model's own states).

Likeness, not influence: what a retrieval system would find, beside what attribution finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from backend.core.errors import UserError
from backend.core.records import Query
from backend.embeddings.artifact import Embeddings
from backend.methods.protocol import MethodInputs
from backend.search.scoring import RowScorer, Scoring


@dataclass(frozen=True)
class Similarity:
    """Inner product of unit vectors, over all passages by a flat FAISS index."""

    slug: str
    embedding: str
    row_set: str | None = None

    def config(self) -> dict[str, Any]:
        """Which embedding, and how vectors are compared; the embeddings' own manifest says the rest."""
        return {"embedding": self.embedding, "similarity": "cosine"}

    def prepare(self, inputs: MethodInputs) -> PreparedSimilarity:
        """Put the passages' vectors into an index in memory."""
        if inputs.embeddings is None:
            raise UserError(f"{self.slug} needs the passages' embeddings.", "Run `proponent rank` again.")
        return PreparedSimilarity(inputs.embeddings)


class PreparedSimilarity:
    """An exact inner-product index of all passages."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._index = faiss.IndexFlatIP(embeddings.vectors.shape[1])
        self._index.add(np.ascontiguousarray(embeddings.vectors))

    def score(self, queries: Sequence[Query], gradients: np.ndarray | None) -> Scoring:
        """Embed each query by itself; each is looked up by itself, so its scores depend on no other."""
        vectors = [self._embeddings.embed_query(query) for query in queries]
        return Scoring(_IndexScorer(self._index, vectors))


class _IndexScorer(RowScorer):
    def __init__(self, index: Any, vectors: Sequence[np.ndarray]) -> None:
        super().__init__(len(vectors))
        self._index, self._vectors = index, vectors

    def row(self, query: int) -> np.ndarray:
        """Scores of all passages, from an exhaustive search."""
        found, positions = self._index.search(self._vectors[query][None], self._index.ntotal)
        scores = np.empty(self._index.ntotal)
        scores[positions[0]] = found[0]
        return scores
