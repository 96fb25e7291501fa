"""LoGra ("What is Your Data Worth to GPT?", arXiv 2405.13954, section 3) and its l-RelatIF.

The influence function ``g_m^T (H + damping)^-1 g_q``, with gradients that are projected on both sides of each layer and
H the second moment of the corpus' projected gradients, block diagonal over layers. l-RelatIF ("RelatIF", arXiv
2003.11630) divides by ``sqrt(phi_m^T K phi_m)``, the size of what the passage changes in the model's predictions at
large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backend.curvature.autocorrelation import store_autocorrelation
from backend.curvature.preconditioner import DAMPING_FACTOR, Preconditioner
from backend.methods.projected import Geometry, OneGeometry
from backend.methods.protocol import MethodInputs


@dataclass(frozen=True)
class LoGra:
    """``phi_m^T K phi_q``, ``K = (R_train + damping)^-1`` for each layer; over ``sqrt(phi_m^T K phi_m)`` if relative.

    The query's side is never normalised: its length is the same for all passages.
    """

    slug: str
    relative: bool
    row_set: str = "raw"
    damping_factor: float = DAMPING_FACTOR

    def config(self) -> dict[str, Any]:
        """Row set, which R, damping, and whether passages are divided by their own length."""
        return {
            "row_set": self.row_set,
            "curvature": "train",
            "damping_factor": self.damping_factor,
            "relative": self.relative,
        }

    def prepare(self, inputs: MethodInputs) -> OneGeometry:
        """R_train from the sealed rows, layer by layer; passage norms come with the first query."""
        store = inputs.gradient_store()
        blocks = store_autocorrelation(store, self.row_set)
        whitening = Preconditioner(blocks, store.plan.layers, self.damping_factor)
        geometry = Geometry(store, self.row_set, whitening, unit_passages=self.relative, unit_queries=False)
        return OneGeometry(geometry, {"r_train": {"n": store.rows}})
