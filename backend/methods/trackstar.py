"""TrackStar: unit-norm, R-whitened, V-corrected projected gradients ("Scalable Influence and Fact Tracing", 3).

``I(z_m, z_q) = Gbar_m . Gbar_q`` with ``Gbar = G / |G|`` and ``G = R^(-1/2) P (grad loss / sqrt(V))``. R is the
autocorrelation over the corpus; for facts and wrong predictions R_eval, over the fact queries, is mixed in, which
pushes down what all of them share (the template).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.core.records import TASKS_WITH_FACT_CURVATURE, Query
from backend.curvature.autocorrelation import (
    Blocks,
    mix,
    mixing_by_crossing,
    rows_autocorrelation,
    store_autocorrelation,
)
from backend.curvature.preconditioner import DAMPING_FACTOR, Preconditioner
from backend.methods.projected import Geometry, projected_scorer
from backend.methods.protocol import MethodInputs
from backend.search.scoring import Scoring


@dataclass(frozen=True)
class TrackStar:
    """TrackStar; with ``task_specific`` false, R is R_train for every task; ``unit_norm`` false is an ablation."""

    slug: str
    task_specific: bool
    unit_norm: bool = True
    row_set: str = "v"
    damping_factor: float = DAMPING_FACTOR

    def config(self) -> dict[str, Any]:
        """Row set, which R, damping, and whether vectors have unit norm."""
        return {
            "row_set": self.row_set,
            "curvature": "mixed" if self.task_specific else "train",
            "damping_factor": self.damping_factor,
            "unit_norm": self.unit_norm,
        }

    def prepare(self, inputs: MethodInputs) -> PreparedTrackStar:
        """R from the sealed rows, lambda by the crossing rule; passage norms come with an R's first query."""
        store = inputs.gradient_store()
        layers = store.plan.layers

        def geometry(blocks: Blocks) -> Geometry:
            whitening = Preconditioner(blocks, layers, self.damping_factor)
            return Geometry(store, self.row_set, whitening, self.unit_norm, self.unit_norm)

        train = store_autocorrelation(store, self.row_set)
        general: dict[str, Any] = {"lambda": 0.0, "k": None, "r_eval": None, "damping_factor": self.damping_factor}
        prepared = PreparedTrackStar([geometry(train)], [general])
        evaluation = inputs.evaluation if self.task_specific else None
        if evaluation is not None and len(evaluation.rows):
            rows = evaluation.store.values(self.row_set)[evaluation.rows]
            r_eval = rows_autocorrelation(rows, layers)
            mixing = mixing_by_crossing(train, r_eval)
            prepared.geometries.append(geometry(mix(train, r_eval, mixing.weight)))
            prepared.facts.append(
                {
                    **general,
                    "lambda": mixing.weight,
                    "k": mixing.component,
                    "r_eval": {"query_set": evaluation.query_set_id, "n": len(rows)},
                }
            )
        return prepared


@dataclass(frozen=True)
class PreparedTrackStar:
    """The geometry of R_train and, where there is an R_eval, that of the mixed R, each with what is said about it."""

    geometries: list[Geometry]
    facts: list[dict[str, Any]]

    def groups(self, queries: Sequence[Query]) -> list[int]:
        """The mixed R for tasks with fact curvature, R_train for the others."""
        mixed = len(self.geometries) - 1
        return [mixed if query.task in TASKS_WITH_FACT_CURVATURE else 0 for query in queries]

    def score(self, queries: Sequence[Query], gradients: np.ndarray | None) -> Scoring:
        """Each query in its geometry; passage norms are made for those that are used."""
        group = self.groups(queries)
        used = self.geometries[: max(group, default=0) + 1]
        scorer, norms = projected_scorer(used, group, gradients)
        facts = {"r_train": {"n": self.geometries[0].store.rows}}
        arrays = {"norms.f32": norms} if self.geometries[0].unit_passages else {}
        return Scoring(scorer, facts, [self.facts[index] for index in group], arrays)
