"""What a method is: something that, given a corpus and queries, prepares a scorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from backend.core.errors import UserError
from backend.core.records import Passage, Query
from backend.gradients.store import GradientStore, check_comparable
from backend.search.scoring import Prepared


@dataclass(frozen=True)
class EvaluationQueries:
    """The queries over which R_eval is taken: rows of a query store."""

    query_set_id: str
    store: GradientStore
    rows: np.ndarray
    """Positions of the queries in their set."""


@dataclass(frozen=True)
class MethodInputs:
    """All that a method may look at. Stores are None for a method that declares no row set."""

    passages: Sequence[Passage]
    queries: Sequence[Query]
    store: GradientStore | None = None
    query_store: GradientStore | None = None
    evaluation: EvaluationQueries | None = None

    def stores(self) -> tuple[GradientStore, GradientStore]:
        """The passages' and the queries' store, checked to be comparable."""
        if self.store is None or self.query_store is None:
            raise UserError("This method needs a gradient store.", "Run `proponent encode` first.")
        check_comparable(self.store.plan, self.query_store.plan)
        return self.store, self.query_store


class Method(Protocol):
    """An attribution method.

    Scores are positive where training on the passage makes the query's completion more likely.
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

    def prepare(self, inputs: MethodInputs) -> Prepared:
        """Do what can be done once for all passages and queries."""
        ...
