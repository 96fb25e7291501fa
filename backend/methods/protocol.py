"""What a method is: prepared once for a corpus, it scores any queries against all of its passages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from backend.core.artifacts import Home
from backend.core.errors import UserError
from backend.core.records import Passage, Query
from backend.embeddings import embedder
from backend.embeddings.artifact import Embeddings
from backend.gradients.projections import RANDOM
from backend.gradients.store import GradientStore
from backend.search.scoring import Scoring


@dataclass(frozen=True)
class EvaluationQueries:
    """The queries over which R_eval is taken: rows of a query store."""

    query_set_id: str
    store: GradientStore
    rows: np.ndarray
    """Positions of the queries in their set."""

    @classmethod
    def of_facts(cls, query_set_id: str, store: GradientStore, queries: Sequence[Query]) -> EvaluationQueries:
        """The fact queries of a set, as the paper takes R_eval; ``queries`` are all of the set."""
        rows = [row for row, query in enumerate(queries) if query.task == "facts"]
        return cls(query_set_id, store, np.array(rows, np.intp))

    @classmethod
    def open(
        cls, home: Home, store_id: str | None, read_queries: Callable[[str], Sequence[Query]]
    ) -> EvaluationQueries | None:
        """Those of a run whose manifest names this store of queries; None where it names none."""
        if store_id is None:
            return None
        store = GradientStore.open(home, store_id)
        query_set_id = str(store.manifest.inputs["queries"])
        return cls.of_facts(query_set_id, store, read_queries(query_set_id))


@dataclass(frozen=True)
class MethodInputs:
    """All that a method may look at before there are queries.

    Store and evaluation are None for a method that declares no row set.
    """

    passages: Sequence[Passage]
    store: GradientStore | None = None
    evaluation: EvaluationQueries | None = None
    embeddings: Embeddings | None = None
    """Of the passages, and what gives a query one; None for a method that declares no ``embedding``."""

    def gradient_store(self) -> GradientStore:
        """The passages' store; raises UserError where there is none."""
        if self.store is None:
            raise UserError("This method needs a gradient store.", "Run `proponent encode` first.")
        return self.store


def store_projection(method: Method) -> str:
    """The projections (``random`` or ``pca``) of the store that a method reads: its ``projection``, if it says so."""
    return str(getattr(method, "projection", RANDOM))


def needed_embedding(method: Method) -> str | None:
    """The name of the embedding that a method compares: its ``embedding``, if it says so."""
    name = getattr(method, "embedding", None)
    return None if name is None else str(name)


def looks_at_model(method: Method) -> bool:
    """Whether scores depend on the attributed model."""
    return method.row_set is not None or embedder.looks_at_model(needed_embedding(method))


class PreparedMethod(Protocol):
    """A method over one corpus: everything that needs no query is done."""

    def score(self, queries: Sequence[Query], gradients: np.ndarray | None) -> Scoring:
        """A scorer of these queries; may be called any number of times, and no call changes another's scores.

        ``gradients`` (len(queries), dims) float64 are the queries' projected gradients in the method's row set, scales
        undone, made with the projections of the passages' store; None for a method that declares no row set.
        """
        ...


class Method(Protocol):
    """An attribution method.

    Scores are positive where training on the passage makes the query's completion more likely. What a class may have
    besides, and need not: ``projection``, the kind of store that it reads, ``random`` where it is not said; and
    ``embedding``, the name of the embedding of passages and queries that it compares (``embeddings.embedder``).
    """

    @property
    def slug(self) -> str:
        """Its name in URLs, JSON and on the command line."""
        ...

    @property
    def row_set(self) -> str | None:
        """The row set of the gradient store that it reads; None for a method that needs no model."""
        ...

    def config(self) -> dict[str, Any]:
        """Its parameters: part of a run's identity."""
        ...

    def prepare(self, inputs: MethodInputs) -> PreparedMethod:
        """Do what is done once for a corpus, whatever is asked of it."""
        ...
