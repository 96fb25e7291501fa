"""Gradient stores of given rows, on disk, without a model."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from backend.core.artifacts import seal
from backend.gradients.store import GradientStore, LayerSlice, StorePlan, write_shard

LAYERS = (LayerSlice("a", 0, 3, 4), LayerSlice("b", 12, 2, 4), LayerSlice("c", 20, 4, 4))
DIMS = 36
FINGERPRINT = {"model": "m", "rank": 4, "seed": 0}


def write_store(
    folder: Path,
    rows: np.ndarray,
    *,
    shards: int = 3,
    dtype: str = "float16",
    scales: tuple[float, float, float] = (1.0, 0.5, 4.0),
    fingerprint: dict | None = None,
) -> GradientStore:
    """A sealed store whose row sets ``raw`` and ``v`` hold ``rows`` and ``2 x rows``."""
    edges = np.linspace(0, len(rows), shards + 1).astype(int)
    plan = StorePlan(
        fingerprint=fingerprint or FINGERPRINT,
        row_sets=("raw", "v"),
        layers=LAYERS,
        scales={"raw": list(scales), "v": list(scales)},
        dtype=dtype,
        rows=len(rows),
        shards=tuple((int(a), int(b)) for a, b in pairwise(edges)),
        batching={},
    )
    folder.mkdir(parents=True)
    plan.write(folder)
    inverse = 1.0 / plan.scale_vector("raw")
    for index, (start, end) in enumerate(plan.shards):
        part = rows[start:end] * inverse
        write_shard(folder, plan, index, {"raw": part.astype(dtype), "v": (2 * part).astype(dtype)}, {"seconds": 0})
    seal(folder, kind="store", inputs={}, config={}, facts={}, seconds=0, command="")
    return GradientStore(folder)
