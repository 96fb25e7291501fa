"""Two-sided projections of a layer's gradient: ``phi = P_out^T G P_in``, random or onto principal axes.

Random: entries of P are i.i.d. N(0, 1/rank), made again from the seed and the layer's name whenever they are needed and
never stored. PCA: see ``principal_axes``. A side that is no wider than the rank is left alone (identity). The row set
``raw`` projects G; the row set ``v`` projects ``G / sqrt(V)``, V's factors folded into P.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backend.gradients.layers import TrackedLayer
from backend.gradients.principal_axes import AXES, SAMPLE_EXAMPLES, PrincipalAxes, load_axes
from backend.gradients.second_moment import FactoredSecondMoment

ROW_SETS = ("raw", "v")
RANDOM, PCA = "random", "pca"


@dataclass(frozen=True)
class ProjectionConfig:
    """How gradients are projected."""

    rank: int | None = 12
    """Columns of P on each side (p); None keeps the whole gradient, for tests and very small models."""
    seed: int = 0
    """Of random projections."""
    kind: str = RANDOM
    """``random`` or ``pca``; the latter has a rank."""

    def settings(self) -> dict[str, Any]:
        """As part of a store's config; random projections are what is meant where it names no kind."""
        pca = {"projection": PCA, "projection_examples": SAMPLE_EXAMPLES} if self.kind == PCA else {}
        return {"rank": self.rank, "seed": self.seed, **pca}

    @classmethod
    def of_store(cls, config: Mapping[str, Any]) -> ProjectionConfig:
        """The projections of a store by its manifest's config."""
        return cls(config["rank"], config["seed"], projection_kind(config))


def projection_kind(config: Mapping[str, Any]) -> str:
    """``random`` or ``pca``, by a store's config."""
    return str(config.get("projection", RANDOM))


def stored_axes(folder: Path, config: ProjectionConfig) -> dict[str, dict[str, PrincipalAxes]] | None:
    """The principal axes of a passage store, None where its projections are random."""
    return load_axes(folder / AXES) if config.kind == PCA else None


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
    axes: Mapping[str, Mapping[str, PrincipalAxes]] | None = None,
) -> dict[str, list[LayerProjection]]:
    """Row set -> a projection per layer, in the layers' order; onto ``axes`` where they are given, else random."""
    projections: dict[str, list[LayerProjection]] = {name: [] for name in ROW_SETS}
    for layer in layers:
        if axes is None:
            outputs = projection_matrix(layer.outputs, config, layer.name, "outputs")
            inputs = projection_matrix(layer.inputs, config, layer.name, "inputs")
            sides = {name: (outputs, inputs) for name in ROW_SETS}
        else:
            sides = {name: (axes[layer.name][name].outputs, axes[layer.name][name].inputs) for name in ROW_SETS}
        projections["raw"].append(LayerProjection(*(side.float() for side in sides["raw"])))
        scaled = zip(sides["v"], second_moments[layer.name].scalings(), strict=True)
        projections["v"].append(LayerProjection(*((side * scale[:, None]).float() for side, scale in scaled)))
    return projections


def fingerprint(projections: Sequence[LayerProjection]) -> str:
    """SHA-256 over every matrix of a row set."""
    digest = hashlib.sha256()
    for projection in projections:
        digest.update(projection.outputs.contiguous().numpy().tobytes())
        digest.update(projection.inputs.contiguous().numpy().tobytes())
    return digest.hexdigest()
