"""Influence with an inverse second moment, written down as its papers do: explicit matrices, one query at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def damped(rows: np.ndarray, damping_factor: float = 0.1) -> np.ndarray:
    """The mean outer product of rows (n, d), plus a multiple of its mean eigenvalue on the diagonal."""
    moment = np.einsum("ni,nj->ij", rows, rows) / len(rows)
    return moment + damping_factor * np.linalg.eigvalsh(moment).mean() * np.eye(len(moment))


def logra(passages: np.ndarray, queries: np.ndarray, spans: Sequence[slice]) -> np.ndarray:
    """(queries, passages): ``sum over layers of phi_q^T (H + damping)^-1 phi_m``."""
    total = np.zeros((len(queries), len(passages)))
    for span in spans:
        inverse = np.linalg.inv(damped(passages[:, span]))
        for at, query in enumerate(queries[:, span]):
            total[at] += query @ inverse @ passages[:, span].T
    return total


def relative_logra(passages: np.ndarray, queries: np.ndarray, spans: Sequence[slice]) -> np.ndarray:
    """(queries, passages): over the root of a passage's influence on itself."""
    on_each_other = logra(passages, passages, spans)
    return logra(passages, queries, spans) / np.sqrt(np.diag(on_each_other))


def trak(
    losses: np.ndarray, outputs: np.ndarray, probabilities: np.ndarray, queries: np.ndarray, damping_factor: float = 0.1
) -> np.ndarray:
    """(queries, passages): ``phi_q^T K Phi^T Q``.

    ``outputs`` and ``queries`` are gradients of log(p / (1 - p)), Q is diag(1 - p) of the passages, and K comes from
    the passages' gradients of the loss.
    """
    inverse = np.linalg.inv(damped(losses, damping_factor))
    return np.array([query @ inverse @ outputs.T @ np.diag(1 - probabilities) for query in queries])
