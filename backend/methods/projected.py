"""What all methods over a gradient store share: ``score = phi_m^T K phi_q / (n_m n_q)``.

A method is a choice of the row set, of K for each query, and of the norms; no choice needs a new pass over the corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from backend.core.errors import UserError
from backend.core.records import Query
from backend.curvature.preconditioner import Preconditioner
from backend.gradients.store import GradientStore
from backend.methods.protocol import PreparedMethod
from backend.search.scoring import ProjectedScorer, Scoring


@dataclass(frozen=True)
class Geometry:
    """K over a row set of one store, and the norms, for a group of queries."""

    store: GradientStore
    row_set: str
    preconditioner: Preconditioner
    unit_passages: bool
    """Divide by ``sqrt(phi_m^T K phi_m)``."""
    unit_queries: bool
    """Divide by ``sqrt(phi_q^T K phi_q)``."""

    @cached_property
    def passage_norms(self) -> np.ndarray:
        """n_m of every passage, (rows,) float64, made when first asked for; raises UserError if one is not finite."""
        if not self.unit_passages:
            return np.ones(self.store.rows)
        norms = self.preconditioner.store_norms(self.store, self.row_set)
        if not np.isfinite(norms).all():
            row = int(np.flatnonzero(~np.isfinite(norms))[0])
            raise UserError(
                f"The norm of row {row} of store {self.store.folder.name} is not a finite number.",
                "Check the store with `proponent verify`.",
            )
        return norms

    def query_vectors(self, gradients: np.ndarray) -> np.ndarray:
        """``K phi_q / n_q`` for gradients (n, dims) float64, ready for rows as they are stored."""
        vectors = self.preconditioner.apply(gradients)
        if self.unit_queries:
            lengths = self.preconditioner.norms(gradients)
            vectors /= np.where(lengths > 0, lengths, 1.0)[:, None]
        vectors *= self.store.plan.scale_vector(self.row_set)
        return vectors

    def passage_search_vectors(self, positions: np.ndarray) -> np.ndarray:
        """``K^(1/2) phi_m / n_m`` of some passages, (n, dims) float32: see ``query_search_vectors``."""
        rows = self.store.gather(self.row_set, positions) * self.store.plan.scale_vector(self.row_set)
        norms = self.passage_norms[positions]
        return _divided(self.preconditioner.whiten(rows), norms)

    def query_search_vectors(self, gradients: np.ndarray) -> np.ndarray:
        """``K^(1/2) phi_q / n_q`` for gradients (n, dims) float64, (n, dims) float32.

        Its inner product with a passage's search vector is the method's score.
        """
        whitened = self.preconditioner.whiten(gradients)
        return _divided(whitened, np.linalg.norm(whitened, axis=1) if self.unit_queries else np.ones(len(whitened)))


def _divided(vectors: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Rows over their norms in float32; zeros where the norm is 0, as in ``ProjectedScorer``."""
    inverse = np.divide(1.0, norms, out=np.zeros(len(norms)), where=norms > 0)
    result: np.ndarray = (vectors * inverse[:, None]).astype(np.float32)
    return result


@runtime_checkable
class Projected(PreparedMethod, Protocol):
    """A prepared method over a gradient store, whose scores are inner products of search vectors."""

    @property
    def geometries(self) -> Sequence[Geometry]:
        """All geometries that a query can have."""
        ...

    def groups(self, queries: Sequence[Query]) -> list[int]:
        """Which geometry each query has."""
        ...


def projected_scorer(
    geometries: Sequence[Geometry], group: Sequence[int], gradients: np.ndarray | None
) -> tuple[ProjectedScorer, np.ndarray]:
    """A scorer in which query i uses ``geometries[group[i]]``, all of one store and row set.

    Also returns the passage norms (groups, rows) float32, ones where no query uses a geometry. ``gradients`` is
    (queries, dims) float64, scales undone.

    The loss falls when training follows the negative gradient, so the product of two loss gradients is positive
    where training on the passage lowers the query's loss: no sign is to be changed.
    """
    store, row_set = geometries[0].store, geometries[0].row_set
    expected = len(group), store.plan.dims
    if gradients is None or gradients.shape != expected:
        raise ValueError(f"gradients must have shape {expected}, not {None if gradients is None else gradients.shape}")
    members = np.asarray(group, dtype=np.intp)
    vectors = np.empty(expected)
    norms = np.ones((len(geometries), store.rows))
    for index, geometry in enumerate(geometries):
        mine = members == index
        if mine.any():
            vectors[mine] = geometry.query_vectors(gradients[mine])
            norms[index] = geometry.passage_norms
    return ProjectedScorer(store, row_set, vectors, norms, members), norms.astype(np.float32)


@dataclass(frozen=True)
class OneGeometry:
    """A prepared method with the same K and norms for all queries."""

    geometry: Geometry
    facts: dict[str, Any] = field(default_factory=dict)
    """What a run says of its curvature."""

    @property
    def geometries(self) -> list[Geometry]:
        """The one that there is."""
        return [self.geometry]

    def groups(self, queries: Sequence[Query]) -> list[int]:
        """All queries have it."""
        return [0] * len(queries)

    def score(self, queries: Sequence[Query], gradients: np.ndarray | None) -> Scoring:
        """Passage norms are made for the first queries, where they are asked for."""
        scorer, norms = projected_scorer(self.geometries, self.groups(queries), gradients)
        return Scoring(scorer, self.facts, arrays={"norms.f32": norms} if self.geometry.unit_passages else {})
