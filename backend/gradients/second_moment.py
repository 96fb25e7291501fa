"""The optimizer's second moment V of each tracked layer, factored as ``V ~ row col^T / mean(row)`` (Adafactor).

Because the factors sit on either side of the gradient, ``G / sqrt(V)`` is a left and a right diagonal scaling and
folds into the projections (TrackStar, section 3: optimizer correction).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from backend.core.errors import UserError
from backend.core.files import atomic_file
from backend.gradients.layers import TrackedLayer

SECOND_MOMENT = "second_moment.safetensors"
"""File of a store that holds V, with which its queries are encoded too."""

EPSILON = 1e-30
"""Floor under V, as in Adafactor."""

SILENT_SHARE = 1e-3
"""Floor under an estimated row or column mean, as a share of their mean."""


@dataclass(frozen=True)
class FactoredSecondMoment:
    """``row`` (outputs,) and ``col`` (inputs,): the row and column means of the squared gradients."""

    row: Tensor
    col: Tensor

    def scalings(self) -> tuple[Tensor, Tensor]:
        """Vectors a (outputs,), b (inputs,) in float64 with ``(G / sqrt(V))[o, i] = a[o] G[o, i] b[i]``."""
        row, col = self.row.double().clamp_min(EPSILON), self.col.double().clamp_min(EPSILON)
        return row.rsqrt(), (row.mean() / col).sqrt()


def from_optimizer_state(
    state: Mapping[str, Tensor], layers: Sequence[TrackedLayer]
) -> dict[str, FactoredSecondMoment]:
    """V of each layer from a saved optimizer state (keys ``<layer>.weight.<name>``).

    Adafactor's ``row_var``/``col_var`` are taken as they are; Adam's ``exp_avg_sq`` by its row and column means.
    Raises UserError where a layer's state is missing.
    """
    moments = {}
    for layer in layers:
        key = f"{layer.name}.weight"
        if f"{key}.row_var" in state:
            row, col = state[f"{key}.row_var"].flatten(), state[f"{key}.col_var"].flatten()
        elif f"{key}.exp_avg_sq" in state:
            full = state[f"{key}.exp_avg_sq"].double()
            row, col = full.mean(dim=1), full.mean(dim=0)
        else:
            raise UserError(
                f"The optimizer state has no second moment for layer {layer.name!r}.",
                "Give the model's folder with --model: without that state, V is estimated from the corpus.",
            )
        moments[layer.name] = (
            FactoredSecondMoment(row=col, col=row) if layer.transposed else FactoredSecondMoment(row, col)
        )
    return moments


class SecondMomentEstimate:
    """Row and column means of squared per-example gradients, added up example by example.

    For a model that comes without optimizer state: what Adafactor's accumulators would average to at the present
    parameters with batches of one.
    """

    def __init__(self, layers: Sequence[TrackedLayer]) -> None:
        self.examples = 0
        self._row = {layer.name: torch.zeros(layer.outputs, dtype=torch.float64) for layer in layers}
        self._col = {layer.name: torch.zeros(layer.inputs, dtype=torch.float64) for layer in layers}

    def add(self, name: str, gradient_OI: Tensor) -> None:
        """Add one example's exact gradient (outputs, inputs) of one layer."""
        squared = gradient_OI.square()
        self._row[name] += squared.mean(dim=1).double().cpu()
        self._col[name] += squared.mean(dim=0).double().cpu()

    def result(self) -> dict[str, FactoredSecondMoment]:
        """The means over all examples added so far.

        A unit that was silent in all of them is given a small share of the mean, or the first example that wakes it
        would be scaled beyond any number format.
        """
        return {
            name: FactoredSecondMoment(_floored(self._row[name] / self.examples), _floored(col / self.examples))
            for name, col in self._col.items()
        }


def _floored(means: Tensor) -> Tensor:
    return means.clamp_min(float(means.mean()) * SILENT_SHARE)


def save_second_moments(path: Path, moments: Mapping[str, FactoredSecondMoment]) -> None:
    """Write V of every layer."""
    tensors = {}
    for name, moment in moments.items():
        tensors[f"{name}.row"] = moment.row.float().contiguous()
        tensors[f"{name}.col"] = moment.col.float().contiguous()
    with atomic_file(path) as stream:
        stream.write(save(tensors))


def load_second_moments(path: Path) -> dict[str, FactoredSecondMoment]:
    """Read V of every layer, by the layer's name."""
    tensors = load_file(path)
    names = {key.rsplit(".", 1)[0] for key in tensors}
    return {name: FactoredSecondMoment(tensors[f"{name}.row"], tensors[f"{name}.col"]) for name in names}
