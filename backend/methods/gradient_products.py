"""Gradient dot (TracIn at one checkpoint) and gradient cosine: K = I, without and with unit norms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.core.records import Query
from backend.curvature.preconditioner import Identity
from backend.methods.projected import Geometry, projected_scorer
from backend.methods.protocol import MethodInputs
from backend.search.scoring import Scoring


@dataclass(frozen=True)
class GradientProduct:
    """``phi_m . phi_q``, over the product of their norms if ``unit_norm``."""

    slug: str
    unit_norm: bool
    row_set: str = "raw"

    def config(self) -> dict[str, Any]:
        """Row set and norm."""
        return {"row_set": self.row_set, "unit_norm": self.unit_norm}

    def prepare(self, inputs: MethodInputs) -> PreparedGradientProduct:
        """The identity over the store; norms come with the first query."""
        store = inputs.gradient_store()
        identity = Identity(store.plan.layers)
        return PreparedGradientProduct(Geometry(store, self.row_set, identity, self.unit_norm, self.unit_norm))


@dataclass(frozen=True)
class PreparedGradientProduct:
    """K = I over one store."""

    geometry: Geometry

    def score(self, queries: Sequence[Query], gradients: np.ndarray | None) -> Scoring:
        """Norms of both sides where they are asked for."""
        scorer, norms = projected_scorer([self.geometry], [0] * len(queries), gradients)
        return Scoring(scorer, arrays={"norms.f32": norms} if self.geometry.unit_passages else {})
