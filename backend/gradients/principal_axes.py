"""Projections onto principal axes: LoGra's PCA initialisation ("What is Your Data Worth to GPT?", 2405.13954).

P_in holds the ``p`` eigenvectors with the largest eigenvalues of ``E[x x^T]`` over tokens, x a layer's inputs; P_out
those of ``E[d d^T]``, d the gradients at its outputs. For the row set ``v``, with ``G / sqrt(V) = diag(a) G diag(b)``,
they are the eigenvectors of ``diag(b) E[x x^T] diag(b)`` and ``diag(a) E[d d^T] diag(a)``.

Columns are orthonormal, and there is no factor 1/p as in random projections: ``P P^T`` is the projector onto the axes,
so the product of two projected gradients is the exact product of their parts within these, with no noise, and what lies
outside is lost. A random projection keeps a product right on average, with noise.

No seed gives these matrices again, so a store holds them in a file (``AXES``); its queries are encoded with that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from backend.core.files import atomic_file
from backend.gradients.layers import TrackedLayer
from backend.gradients.second_moment import FactoredSecondMoment

AXES = "principal_axes.safetensors"
"""File of a store that holds the axes of both row sets, with which its queries are encoded too."""

SAMPLE_EXAMPLES = 2000
"""Passages, evenly spaced over the corpus, over whose tokens the covariances are taken; all where there are fewer."""

COVARIANCE_BYTES = 1 << 30
"""Covariances held at once: for wider models the sample is gone through once for each group of layers."""


@dataclass(frozen=True)
class PrincipalAxes:
    """The axes of one layer for one row set, orthonormal columns, float32; a side no wider than the rank has all."""

    outputs: Tensor
    """(outputs, p_out)."""
    inputs: Tensor
    """(inputs, p_in)."""


class ActivationCovariance:
    """``sum x x^T`` and ``sum d d^T`` of one layer over tokens, float64, on the device of the activations."""

    def __init__(self, layer: TrackedLayer, device: str) -> None:
        self.inputs = torch.zeros(layer.inputs, layer.inputs, dtype=torch.float64, device=device)
        self.outputs = torch.zeros(layer.outputs, layer.outputs, dtype=torch.float64, device=device)

    def add(self, x_BTI: Tensor, d_BTO: Tensor) -> None:
        """Add a batch of passages, their last tokens left out: no loss is behind them, so no gradient has them."""
        x, d = x_BTI[:, :-1].flatten(0, 1).double(), d_BTO[:, :-1].flatten(0, 1).double()
        self.inputs.addmm_(x.mT, x)
        self.outputs.addmm_(d.mT, d)

    def axes(self, moment: FactoredSecondMoment, ranks: Sequence[int]) -> dict[int, dict[str, PrincipalAxes]]:
        """Rank -> row set -> the layer's axes."""
        outputs, inputs = self.outputs.cpu(), self.inputs.cpu()
        left, right = moment.scalings()
        vectors = {
            "raw": (_eigenvectors(outputs), _eigenvectors(inputs)),
            "v": (
                _eigenvectors(outputs * torch.outer(left, left)),
                _eigenvectors(inputs * torch.outer(right, right)),
            ),
        }
        return {
            rank: {name: PrincipalAxes(*(_leading(side, rank) for side in sides)) for name, sides in vectors.items()}
            for rank in ranks
        }


def _eigenvectors(covariance: Tensor) -> Tensor:
    """All eigenvectors as columns, that of the largest eigenvalue first, the largest entry of each positive."""
    vectors = torch.linalg.eigh(covariance).eigenvectors.flip(1)
    return vectors * vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()


def _leading(vectors: Tensor, rank: int) -> Tensor:
    """The first ``rank`` columns, float32; the identity where that leaves none out, as for random projections."""
    size = len(vectors)
    return torch.eye(size) if size <= rank else vectors[:, :rank].float().contiguous()


def principal_axes(
    layers: Sequence[TrackedLayer],
    moments: Mapping[str, FactoredSecondMoment],
    ranks: Sequence[int],
    device: str,
    passes: Callable[[Sequence[TrackedLayer], Callable[[int, Tensor, Tensor], None]], None],
) -> dict[int, dict[str, dict[str, PrincipalAxes]]]:
    """Rank -> layer -> row set -> axes.

    ``passes(layers, collect)`` runs the sample through the model and calls ``collect(index in layers, x_BTI, d_BTO)``;
    it is called once where the covariances of all layers fit into memory together.
    """
    axes: dict[int, dict[str, dict[str, PrincipalAxes]]] = {rank: {} for rank in ranks}
    for group in _groups(layers):
        covariances = [ActivationCovariance(layer, device) for layer in group]

        def collect(index: int, x: Tensor, d: Tensor, held: Sequence[ActivationCovariance] = covariances) -> None:
            held[index].add(x, d)

        passes(group, collect)
        for layer, covariance in zip(group, covariances, strict=True):
            for rank, of_layer in covariance.axes(moments[layer.name], ranks).items():
                axes[rank][layer.name] = of_layer
    return axes


def _groups(layers: Iterable[TrackedLayer]) -> list[list[TrackedLayer]]:
    groups: list[list[TrackedLayer]] = []
    held = 0
    for layer in layers:
        needed = 8 * (layer.inputs**2 + layer.outputs**2)
        if not groups or held + needed > COVARIANCE_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(layer)
        held += needed
    return groups


def save_axes(path: Path, axes: Mapping[str, Mapping[str, PrincipalAxes]]) -> None:
    """Write the axes of every layer."""
    tensors = {}
    for layer, row_sets in axes.items():
        for row_set, of_set in row_sets.items():
            tensors[f"{layer}.{row_set}.outputs"] = of_set.outputs
            tensors[f"{layer}.{row_set}.inputs"] = of_set.inputs
    with atomic_file(path) as stream:
        stream.write(save(tensors))


def load_axes(path: Path) -> dict[str, dict[str, PrincipalAxes]]:
    """Read the axes: layer -> row set -> axes."""
    tensors = load_file(path)
    axes: dict[str, dict[str, PrincipalAxes]] = {}
    for key in tensors:
        layer, row_set, _side = key.rsplit(".", 2)
        axes.setdefault(layer, {})[row_set] = PrincipalAxes(
            tensors[f"{layer}.{row_set}.outputs"], tensors[f"{layer}.{row_set}.inputs"]
        )
    return axes
