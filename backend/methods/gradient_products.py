"""Gradient dot (TracIn at one checkpoint) and gradient cosine: K = I, without and with unit norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backend.curvature.preconditioner import Identity
from backend.methods.projected import Geometry, OneGeometry
from backend.methods.protocol import MethodInputs


@dataclass(frozen=True)
class GradientProduct:
    """``phi_m . phi_q``, over the product of their norms if ``unit_norm``."""

    slug: str
    unit_norm: bool
    row_set: str = "raw"

    def config(self) -> dict[str, Any]:
        """Row set and norm."""
        return {"row_set": self.row_set, "unit_norm": self.unit_norm}

    def prepare(self, inputs: MethodInputs) -> OneGeometry:
        """The identity over the store; norms come with the first query."""
        store = inputs.gradient_store()
        identity = Identity(store.plan.layers)
        return OneGeometry(Geometry(store, self.row_set, identity, self.unit_norm, self.unit_norm))
