"""What gives a text a vector: the embedders by name, each over token ids and one sequence length at a time.

Vectors have unit length, so that an inner product is a cosine. A query is prompt and completion, joined as everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backend.core.errors import UserError
from backend.core.records import Passage, Query

SENTENCES = "all-minilm-l6-v2"
"""The sentence model all-MiniLM-L6-v2 (``sentences``), which knows nothing of the attributed model."""

HIDDEN_STATES = "hidden-states"
"""The attributed model's own mean last hidden state (``hidden_states``)."""

EMBEDDINGS = (SENTENCES, HIDDEN_STATES)


class Embedder(ABC):
    """Gives token sequences vectors; a sequence's vector depends on no other's beyond float32 rounding."""

    @abstractmethod
    def passage_tokens(self, passages: Sequence[Passage]) -> list[list[int]]:
        """Token ids of each passage, cut to what the model takes."""

    @abstractmethod
    def query_tokens(self, query: Query) -> list[int]:
        """Token ids of a query; raises InputError where the model cannot take it."""

    @abstractmethod
    def pooled(self, ids_BT: Tensor) -> Tensor:
        """Vectors (B, width) of sequences of equal length."""

    def embed(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """Vectors (B, width) of unit length, float32, of sequences of equal length; NaN where the model is broken."""
        with torch.inference_mode():
            pooled = self.pooled(torch.tensor([list(sequence) for sequence in ids])).double()
        return (pooled / pooled.norm(dim=1, keepdim=True)).float().cpu().numpy()

    def embed_query(self, query: Query) -> np.ndarray:
        """A query's vector (width,), made alone: the same whatever else is asked. Raises UserError if not finite."""
        vector: np.ndarray = self.embed([self.query_tokens(query)])[0]
        if not np.isfinite(vector).all():
            raise UserError("The embedding of a query is not a finite number.", "Check the model's weights.")
        return vector


def mean_over(hidden_BTH: Tensor, mask_BT: Tensor) -> Tensor:
    """Means (B, H) over the tokens of a mask, which has one in every row."""
    weights = mask_BT.to(hidden_BTH.dtype)
    return torch.einsum("bth,bt->bh", hidden_BTH, weights) / weights.sum(dim=1, keepdim=True)


def looks_at_model(embedding: str | None) -> bool:
    """Whether vectors are those of the attributed model; False for None. Raises UserError for an unknown name."""
    if embedding is not None and embedding not in EMBEDDINGS:
        raise UserError(f"There is no embedding {embedding!r}.", f"Known: {', '.join(EMBEDDINGS)}.")
    return embedding == HIDDEN_STATES


def embedding_config(embedding: str) -> dict[str, Any]:
    """What determines vectors beside model and texts: part of an artifact's identity.

    Raises UserError, saying how to install it, where the embedding's package is missing.
    """
    from backend.embeddings import hidden_states, sentences

    return dict(hidden_states.CONFIG) if looks_at_model(embedding) else sentences.config()
