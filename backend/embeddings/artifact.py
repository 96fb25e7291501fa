"""The passages' embeddings as an artifact: made in parts that a kill cannot take away, then one array.

``embeddings/<id>/vectors.f32.npy`` holds a row a passage, in the corpus's order. Until all are there, ``parts/`` holds
consecutive rows, a part named by its first position.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backend.core.artifacts import Home, artifact_id, is_finished, seal
from backend.core.errors import UserError
from backend.core.files import load_array, save_array
from backend.core.records import Passage, Query
from backend.embeddings.embedder import Embedder, embedding_config, looks_at_model
from backend.models.batching import equal_length_batches

VECTORS = "vectors.f32.npy"
PARTS = "parts"
PART_TOKENS = 32_768
"""Tokens of a part: the most that a kill can lose."""
BATCH_TOKENS = 4096

Progress = Callable[[int, int, str], None]
"""(done, total, message), in tokens."""


@dataclass
class Embeddings:
    """The passages' vectors, and what gives a query one; the embedder is opened with the first query."""

    id: str
    vectors: np.ndarray
    """(passages, width) float32 of unit length, memory-mapped."""
    open_embedder: Callable[[], Embedder]
    _embedder: Embedder | None = field(default=None, repr=False)

    @classmethod
    def open(cls, home: Home, embeddings_id: str, open_embedder: Callable[[], Embedder]) -> Embeddings:
        """Open a finished artifact; raises MissingArtifact, CorruptArtifact."""
        folder = home.find("embeddings", embeddings_id)
        return cls(embeddings_id, load_array(folder / VECTORS), open_embedder)

    def embed_query(self, query: Query) -> np.ndarray:
        """A query's vector (width,) float32, of unit length; it depends on the query alone."""
        if self._embedder is None:
            self._embedder = self.open_embedder()
        return self._embedder.embed_query(query)


def build_embeddings(
    home: Home,
    embedding: str,
    corpus_id: str,
    model_id: str | None,
    passages: Callable[[], Sequence[Passage]],
    open_embedder: Callable[[], Embedder],
    progress: Progress,
) -> str:
    """Embed a corpus; returns the artifact's id. A no-op, passages and model unread, where it is finished.

    ``model_id`` is needed where the embedding looks at the model, and no input where it does not. Raises UserError
    where a package is missing (before anything is written), and one that names the passage whose vector is not finite.
    """
    config = {**embedding_config(embedding), "part_tokens": PART_TOKENS, "batch_tokens": BATCH_TOKENS}
    if looks_at_model(embedding) and model_id is None:
        raise UserError(f"The embedding {embedding!r} needs a model.", "Run `proponent train`, or give --model.")
    inputs: dict[str, str | None] = {"corpus": corpus_id, "model": model_id if looks_at_model(embedding) else None}
    folder = home.folder("embeddings", artifact_id("embeddings", inputs, config))
    if is_finished(folder):
        return folder.name
    started = time.monotonic()
    given, embedder = passages(), open_embedder()
    tokens = embedder.passage_tokens(given)
    _make_parts(folder / PARTS, given, tokens, embedder, progress)
    vectors = np.concatenate([load_array(path) for path in sorted((folder / PARTS).glob("*.npy"))])
    save_array(folder / VECTORS, vectors)
    shutil.rmtree(folder / PARTS)
    seal(
        folder,
        kind="embeddings",
        inputs=inputs,
        config=config,
        facts={"rows": len(vectors), "dims": vectors.shape[1], "tokens": sum(map(len, tokens))},
        seconds=time.monotonic() - started,
        command="proponent rank",
    )
    return folder.name


def _make_parts(
    folder: Path, passages: Sequence[Passage], tokens: Sequence[Sequence[int]], embedder: Embedder, progress: Progress
) -> None:
    lengths = [len(sequence) for sequence in tokens]
    done, total = 0, sum(lengths)
    for start, end in _ranges(lengths):
        path = folder / f"{start:08d}.npy"
        if not path.exists():
            save_array(path, _part(passages[start:end], tokens[start:end], embedder))
        done += sum(lengths[start:end])
        progress(done, total, "embedding passages")


def _part(passages: Sequence[Passage], tokens: Sequence[Sequence[int]], embedder: Embedder) -> np.ndarray:
    vectors: np.ndarray | None = None
    for batch in equal_length_batches([len(sequence) for sequence in tokens], max_tokens=BATCH_TOKENS):
        found = embedder.embed([tokens[row] for row in batch])
        bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(bad):
            raise UserError(
                f"The embedding of {passages[batch[bad[0]]].id!r} is not a finite number.",
                "Check the model's weights and this passage; leave the passage out to go on.",
            )
        vectors = np.empty((len(tokens), found.shape[1]), np.float32) if vectors is None else vectors
        vectors[batch] = found
    assert vectors is not None, "a range holds a passage"
    return vectors


def _ranges(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Consecutive passages of about ``PART_TOKENS`` tokens."""
    ranges, start, tokens = [], 0, 0
    for row, length in enumerate(lengths):
        if tokens and tokens + length > PART_TOKENS:
            ranges.append((start, row))
            start, tokens = row, 0
        tokens += length
    return [*ranges, (start, len(lengths))]
