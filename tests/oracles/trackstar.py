"""TrackStar written down as its definition says: whiten every vector by R^(-1/2), normalise, take dot products."""

from __future__ import annotations

import numpy as np
from scipy.linalg import fractional_matrix_power


def whitened_unit_vectors(rows: np.ndarray, blocks: list[np.ndarray], spans: list[slice], damping_factor: float):
    """(n, d): ``R^(-1/2) phi`` layer by layer, then each row over its norm."""
    whitened = np.empty_like(rows)
    for block, span in zip(blocks, spans, strict=True):
        damped = block + damping_factor * np.trace(block) / len(block) * np.eye(len(block))
        whitened[:, span] = rows[:, span] @ np.real(fractional_matrix_power(damped, -0.5))
    return whitened / np.linalg.norm(whitened, axis=1, keepdims=True)


def trackstar_scores(
    passages: np.ndarray,
    queries: np.ndarray,
    blocks: list[np.ndarray],
    spans: list[slice],
    damping_factor: float = 0.1,
) -> np.ndarray:
    """(queries, passages) influence."""
    left = whitened_unit_vectors(queries, blocks, spans, damping_factor)
    return left @ whitened_unit_vectors(passages, blocks, spans, damping_factor).T


def crossing_lambda(train: list[np.ndarray], evaluation: list[np.ndarray], component: int) -> float:
    """lambda by bisection: where the two weighted, pooled and sorted spectra are equal at a component."""

    def at(blocks: list[np.ndarray]) -> float:
        pooled = sorted((value for block in blocks for value in np.linalg.svd(block)[1]), reverse=True)
        return pooled[component - 1]

    of_evaluation, of_train = at(evaluation), at(train)
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle * of_evaluation < (1 - middle) * of_train:
            low = middle
        else:
            high = middle
    return low
