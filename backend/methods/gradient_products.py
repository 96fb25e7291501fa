"""Gradient dot (TracIn at one checkpoint) and gradient cosine: K = I, without and with unit norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backend.curvature.preconditioner import Identity
from backend.methods.projected import Geometry, projected_scorer
from backend.methods.protocol import MethodInputs
from backend.search.scoring import Prepared


@dataclass(frozen=True)
class GradientProduct:
    """``phi_m . phi_q``, over the product of their norms if ``unit_norm``."""

    slug: str
    unit_norm: bool
    row_set: str = "raw"

    def config(self) -> dict[str, Any]:
        """Row set and norm."""
        return {"row_set": self.row_set, "unit_norm": self.unit_norm}

    def prepare(self, inputs: MethodInputs) -> Prepared:
        """Norms of both sides where they are asked for."""
        store, query_store = inputs.stores()
        geometry = Geometry(Identity(store.plan.layers), self.unit_norm, self.unit_norm)
        scorer, norms = projected_scorer(store, query_store, self.row_set, [geometry], [0] * len(inputs.queries))
        return Prepared(scorer, arrays={"norms.f32": norms} if self.unit_norm else {})
