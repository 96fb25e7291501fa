"""What all methods over a gradient store share: ``score = phi_m^T K phi_q / (n_m n_q)``.

A method is a choice of the row set, of K for each query, and of the norms; no choice needs a new pass over the corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.core.errors import UserError
from backend.curvature.preconditioner import Preconditioner
from backend.gradients.store import GradientStore
from backend.search.scoring import ProjectedScorer


@dataclass(frozen=True)
class Geometry:
    """K and the norms for a group of queries."""

    preconditioner: Preconditioner
    unit_passages: bool
    """Divide by ``sqrt(phi_m^T K phi_m)``."""
    unit_queries: bool
    """Divide by ``sqrt(phi_q^T K phi_q)``."""


def projected_scorer(
    store: GradientStore,
    query_store: GradientStore,
    row_set: str,
    geometries: Sequence[Geometry],
    group: Sequence[int],
) -> tuple[ProjectedScorer, np.ndarray]:
    """A scorer in which query i uses ``geometries[group[i]]``; also returns the passage norms (groups, rows).

    The loss falls when training follows the negative gradient, so the product of two loss gradients is positive
    where training on the passage lowers the query's loss: no sign is to be changed.
    """
    values = query_store.values(row_set)
    members = np.asarray(group, dtype=np.intp)
    vectors = np.empty_like(values)
    norms = np.ones((len(geometries), store.rows))
    for index, geometry in enumerate(geometries):
        mine = members == index
        if not mine.any():
            continue
        vectors[mine] = geometry.preconditioner.apply(values[mine])
        if geometry.unit_queries:
            lengths = geometry.preconditioner.norms(values[mine])
            vectors[mine] /= np.where(lengths > 0, lengths, 1.0)[:, None]
        if geometry.unit_passages:
            norms[index] = geometry.preconditioner.store_norms(store, row_set)
            if not np.isfinite(norms[index]).all():
                row = int(np.flatnonzero(~np.isfinite(norms[index]))[0])
                raise UserError(
                    f"The norm of row {row} of store {store.folder.name} is not a finite number.",
                    "Check the store with `proponent verify`.",
                )
    vectors *= store.plan.scale_vector(row_set)
    return ProjectedScorer(store, row_set, vectors, norms, members), norms.astype(np.float32)
