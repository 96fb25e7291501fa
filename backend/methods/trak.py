"""TRAK at one checkpoint ("TRAK: Attributing Model Behavior at Scale", arXiv 2303.14186, section 3).

TRAK attributes the output ``f = log(p / (1 - p))``, p the probability of what is right; here of the whole completion,
and for a passage of all its tokens: ``phi_q^T (Phi^T Phi)^-1 Phi^T Q`` with ``phi = P grad f``, ``Q = diag(1 - p_m)``.
Since ``grad f = -grad L / (1 - p)`` for the loss ``L = -log p``, Q cancels against the passages' own factors, and the
two signs against each other:

    score(z_m, z_q) = phi(z_m)^T K phi(z_q) / (1 - p_q),   phi = P grad L,   K = (Phi^T Phi / N + damping)^-1

What is not TRAK itself:

* ``1 / (1 - p_q)`` is left out. It is a positive constant of the query, so ranks, percentiles and rank correlations
  are the same without it, and a completion that the model is sure of (p rounds to 1) keeps finite scores. Multiply by
  it for TRAK's own scale.
* Phi holds gradients of the loss, TRAK's those of f. They differ by ``1 - p_m``, which is near 1 unless the model knows
  the whole passage by heart.
* One checkpoint, where the paper averages over models trained on random halves; damping, where it has none; two-sided
  projections of each layer, where it projects all parameters together; scores of all passages, where it keeps the
  largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backend.curvature.autocorrelation import joint_autocorrelation
from backend.curvature.preconditioner import DAMPING_FACTOR, JointPreconditioner
from backend.methods.projected import Geometry, OneGeometry
from backend.methods.protocol import MethodInputs


@dataclass(frozen=True)
class Trak:
    """``phi_m^T K phi_q`` with one K over all dims of the store, off-diagonal blocks between layers included."""

    slug: str = "trak"
    row_set: str = "raw"
    damping_factor: float = DAMPING_FACTOR

    def config(self) -> dict[str, Any]:
        """Row set, that R is of one piece, damping, and that scores lack the query's own factor."""
        return {
            "row_set": self.row_set,
            "curvature": "train, all dimensions at once",
            "damping_factor": self.damping_factor,
            "query_factor": "1 / (1 - p) left out",
        }

    def prepare(self, inputs: MethodInputs) -> OneGeometry:
        """R over all dims from the sealed rows, in float64, and its Cholesky factor.

        Raises UserError above 8,192 dims (``LARGEST_BLOCK``), before anything is read.
        """
        store = inputs.gradient_store()
        preconditioner = JointPreconditioner(joint_autocorrelation(store, self.row_set), self.damping_factor)
        geometry = Geometry(store, self.row_set, preconditioner, unit_passages=False, unit_queries=False)
        return OneGeometry(geometry, {"r_train": {"n": store.rows}})
