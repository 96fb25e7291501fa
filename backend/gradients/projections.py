"""Two-sided random projections of a layer's gradient: ``phi = P_out^T G P_in``.

Entries of P are i.i.d. N(0, 1/rank), made again from the seed and the layer's name whenever they are needed and
never stored; a side that is no wider than the rank is left alone (identity). The row set ``raw`` projects G; the
row set ``v`` projects ``G / sqrt(V)`` with the same P, V's factors folded into them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backend.gradients.layers import TrackedLayer
from backend.gradients.second_moment import FactoredSecondMoment

ROW_SETS = ("raw", "v")


@dataclass(frozen=True)
class ProjectionConfig:
    """How gradients are projected."""

    rank: int | None = 12
    """Columns of P on each side (p); None keeps the whole gradient, for tests and very small models."""
    seed: int = 0


@dataclass(frozen=True)
class LayerProjection:
    """The projections of one layer for one row set."""

    outputs: Tensor
    """P_out, (outputs, p_out), float32."""
    inputs: Tensor
    """P_in, (inputs, p_in), float32."""

    @property
    def dims(self) -> int:
        """Length of the layer's slice of a row: p_out x p_in."""
        return self.outputs.shape[1] * self.inputs.shape[1]


def projection_matrix(size: int, config: ProjectionConfig, layer: str, side: str) -> Tensor:
    """P of one side, (size, p), float64."""
    if config.rank is None or size <= config.rank:
        return torch.eye(size, dtype=torch.float64)
    digest = hashlib.sha256(f"{config.seed}/{layer}/{side}".encode()).digest()
    # RandomState's streams are frozen by numpy's compatibility policy: a store stays searchable after an upgrade.
    random = np.random.RandomState(np.frombuffer(digest, np.uint32))
    entries = random.standard_normal((size, config.rank)) / np.sqrt(config.rank)
    return torch.from_numpy(entries)


def layer_projections(
    layers: Sequence[TrackedLayer],
    config: ProjectionConfig,
    second_moments: Mapping[str, FactoredSecondMoment],
) -> dict[str, list[LayerProjection]]:
    """Row set -> a projection per layer, in the layers' order."""
    projections: dict[str, list[LayerProjection]] = {name: [] for name in ROW_SETS}
    for layer in layers:
        outputs = projection_matrix(layer.outputs, config, layer.name, "outputs")
        inputs = projection_matrix(layer.inputs, config, layer.name, "inputs")
        projections["raw"].append(LayerProjection(outputs.float(), inputs.float()))
        left, right = second_moments[layer.name].scalings()
        projections["v"].append(LayerProjection((outputs * left[:, None]).float(), (inputs * right[:, None]).float()))
    return projections


def fingerprint(projections: Sequence[LayerProjection]) -> str:
    """SHA-256 over every matrix of a row set."""
    digest = hashlib.sha256()
    for projection in projections:
        digest.update(projection.outputs.contiguous().numpy().tobytes())
        digest.update(projection.inputs.contiguous().numpy().tobytes())
    return digest.hexdigest()
