"""Open an embedder by name."""

from __future__ import annotations

from collections.abc import Callable

from backend.embeddings.embedder import Embedder, looks_at_model
from backend.embeddings.hidden_states import HiddenStates
from backend.embeddings.sentences import Sentences
from backend.models.loading import LoadedModel


def open_embedder(embedding: str, model: Callable[[], LoadedModel], device: str) -> Embedder:
    """The embedder of a name; ``model`` is asked for where the embedding looks at it."""
    return HiddenStates(model()) if looks_at_model(embedding) else Sentences(device)
