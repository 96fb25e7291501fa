"""TrackStar: unit-norm, R-whitened, V-corrected projected gradients ("Scalable Influence and Fact Tracing", 3).

``I(z_m, z_q) = Gbar_m . Gbar_q`` with ``Gbar = G / |G|`` and ``G = R^(-1/2) P (grad loss / sqrt(V))``. R is the
autocorrelation over the corpus; for facts and wrong predictions R_eval, over the fact queries, is mixed in, which
pushes down what all of them share (the template).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backend.core.records import TASKS_WITH_FACT_CURVATURE
from backend.curvature.autocorrelation import (
    mix,
    mixing_by_crossing,
    rows_autocorrelation,
    store_autocorrelation,
)
from backend.curvature.preconditioner import DAMPING_FACTOR, Preconditioner
from backend.methods.projected import Geometry, projected_scorer
from backend.methods.protocol import MethodInputs
from backend.search.scoring import Prepared


@dataclass(frozen=True)
class TrackStar:
    """TrackStar; with ``task_specific`` false, R is R_train for every task."""

    slug: str
    task_specific: bool
    row_set: str = "v"
    damping_factor: float = DAMPING_FACTOR

    def config(self) -> dict[str, Any]:
        """Row set, which R, and damping."""
        return {
            "row_set": self.row_set,
            "curvature": "mixed" if self.task_specific else "train",
            "damping_factor": self.damping_factor,
            "unit_norm": True,
        }

    def prepare(self, inputs: MethodInputs) -> Prepared:
        """R from the sealed rows, lambda by the crossing rule, passage norms for each R in use."""
        store, query_store = inputs.stores()
        layers = store.plan.layers
        train = store_autocorrelation(store, self.row_set)
        geometries = [Geometry(Preconditioner(train, layers, self.damping_factor), True, True)]
        of_task = [0] * len(inputs.queries)
        general: dict[str, Any] = {"lambda": 0.0, "k": None, "r_eval": None, "damping_factor": self.damping_factor}
        facts = [general] * len(inputs.queries)
        evaluation = inputs.evaluation if self.task_specific else None
        specific = [query.task in TASKS_WITH_FACT_CURVATURE for query in inputs.queries]
        if evaluation is not None and len(evaluation.rows) and any(specific):
            rows = evaluation.store.values(self.row_set)[evaluation.rows]
            r_eval = rows_autocorrelation(rows, layers)
            mixing = mixing_by_crossing(train, r_eval)
            mixed = mix(train, r_eval, mixing.weight)
            geometries.append(Geometry(Preconditioner(mixed, layers, self.damping_factor), True, True))
            recorded = {
                **general,
                "lambda": mixing.weight,
                "k": mixing.component,
                "r_eval": {"query_set": evaluation.query_set_id, "n": len(rows)},
            }
            of_task = [int(flag) for flag in specific]
            facts = [recorded if flag else general for flag in specific]
        scorer, norms = projected_scorer(store, query_store, self.row_set, geometries, of_task)
        return Prepared(scorer, {"r_train": {"n": store.rows}}, facts, {"norms.f32": norms})
