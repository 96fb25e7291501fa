"""R, the second moment ``E[phi phi^T]`` of projected gradients: block diagonal over layers (TrackStar, section 3), or
one matrix over all dimensions (TRAK's ``Phi^T Phi / N``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from backend.core.errors import UserError
from backend.gradients.store import GradientStore, LayerSlice

LARGEST_BLOCK = 8192
"""Above this, an R of one piece (dims x dims, float64) takes over half a gigabyte and its eigenvectors minutes."""

Blocks = list[np.ndarray]
"""A (dims, dims) float64 matrix for each layer."""


def store_autocorrelation(store: GradientStore, row_set: str) -> Blocks:
    """R over all rows of a store, in float64 and in shard order: the same bits every time."""
    _check_size(store.plan.layers)
    scale = store.plan.scale_vector(row_set)
    return _accumulate((block.astype(np.float64) for _, block in store.blocks(row_set)), store.plan.layers, scale)


def joint_autocorrelation(store: GradientStore, row_set: str) -> np.ndarray:
    """R over all dims of all rows of a store at once, (dims, dims) float64, in shard order; not split into layers.

    Raises UserError above ``LARGEST_BLOCK`` dims.
    """
    dims = store.plan.dims
    if dims > LARGEST_BLOCK:
        raise UserError(
            f"Store {store.folder.name} has {dims} projected dimensions in all; one R over all of them, which is "
            f"{dims} x {dims}, is computed up to {LARGEST_BLOCK}.",
            "Encode with a smaller rank, or use a method with an R for each layer (`logra`).",
        )
    scale = store.plan.scale_vector(row_set)
    blocks = (block.astype(np.float64) for _, block in store.blocks(row_set))
    return _accumulate(blocks, [LayerSlice("all layers", 0, dims, 1)], scale)[0]


def rows_autocorrelation(rows: np.ndarray, layers: Sequence[LayerSlice]) -> Blocks:
    """R over explicit rows (n, dims), scales undone."""
    _check_size(layers)
    return _accumulate([rows.astype(np.float64)], layers, np.ones(rows.shape[1]))


def _accumulate(blocks: Iterable[np.ndarray], layers: Sequence[LayerSlice], scale: np.ndarray) -> Blocks:
    sums = [np.zeros((layer.dims, layer.dims)) for layer in layers]
    count = 0
    for block in blocks:
        count += len(block)
        for layer, total in zip(layers, sums, strict=True):
            part = block[:, layer.span]
            total += part.T @ part
    if not count:
        raise UserError("R cannot be estimated from no examples.", "Give at least one query or passage.")
    for layer, total in zip(layers, sums, strict=True):
        # Scales are powers of two: multiplying by them rounds nothing.
        total *= scale[layer.span, None] / count
        total *= scale[layer.span]
    return sums


def _check_size(layers: Sequence[LayerSlice]) -> None:
    largest = max(layers, key=lambda layer: layer.dims)
    if largest.dims > LARGEST_BLOCK:
        raise UserError(
            f"Layer {largest.name!r} has {largest.dims} projected dimensions; R is computed up to {LARGEST_BLOCK}.",
            "Encode with a smaller rank.",
        )


@dataclass(frozen=True)
class Mixing:
    """How much of R_eval goes into ``R = lambda R_eval + (1 - lambda) R_train``."""

    weight: float
    """lambda."""
    component: int
    """The component k at which the two weighted spectra cross."""


def mixing_by_crossing(train: Blocks, evaluation: Blocks) -> Mixing:
    """lambda such that the sorted spectra of lambda R_eval and (1 - lambda) R_train cross at component d/64.

    Spectra are pooled over layers. TrackStar crosses at component 1,000 of 2^16; k scales with the dimension. Where
    R_eval has no such component (fewer examples than k), lambda is 0.
    """
    spectrum_train, spectrum_eval = _pooled_spectrum(train), _pooled_spectrum(evaluation)
    component = max(1, len(spectrum_train) // 64)
    at_train, at_eval = spectrum_train[component - 1], spectrum_eval[component - 1]
    negligible = spectrum_eval[0] * np.finfo(np.float64).eps * len(spectrum_eval)
    weight = 0.0 if at_eval <= negligible else float(at_train / (at_eval + at_train))
    return Mixing(weight, component)


def mix(train: Blocks, evaluation: Blocks, weight: float) -> Blocks:
    """``weight R_eval + (1 - weight) R_train``, layer by layer."""
    return [weight * e + (1.0 - weight) * t for t, e in zip(train, evaluation, strict=True)]


def _pooled_spectrum(blocks: Blocks) -> np.ndarray:
    return np.sort(np.concatenate([np.linalg.eigvalsh(block) for block in blocks]))[::-1]
