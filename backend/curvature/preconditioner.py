"""``K = (R + damping)^-1``: layer by layer, with its root, which whitens projected gradients; or over all dims."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from backend.curvature.autocorrelation import Blocks
from backend.gradients.store import GradientStore, LayerSlice

DAMPING_FACTOR = 0.1
"""Damping of a layer, as a multiple of the mean eigenvalue of its R."""


class Preconditioner:
    """Holds ``K^(1/2) = Q (s + damping)^(-1/2)`` for each layer, Q and s the eigenvectors and eigenvalues of R.

    A layer in which no example has any gradient has no R to invert; it is left out (K = 0 there).
    """

    def __init__(self, blocks: Blocks, layers: Sequence[LayerSlice], damping_factor: float = DAMPING_FACTOR) -> None:
        self.layers = tuple(layers)
        self._roots = []
        for block in blocks:
            eigenvalues, eigenvectors = np.linalg.eigh(block)
            mean = float(eigenvalues.mean())
            if mean <= np.finfo(np.float32).tiny:
                self._roots.append(np.zeros_like(eigenvectors))
                continue
            self._roots.append(eigenvectors / np.sqrt(np.maximum(eigenvalues, 0.0) + damping_factor * mean))

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """K phi for rows (n, dims) float64."""
        result = np.empty_like(rows, dtype=np.float64)
        for layer, root in zip(self.layers, self._roots, strict=True):
            result[:, layer.span] = (rows[:, layer.span] @ root) @ root.T
        return result

    def whiten(self, rows: np.ndarray) -> np.ndarray:
        """``K^(1/2) phi`` for rows (n, dims) float64 up to a rotation of each layer, the same for all rows.

        So the inner product of two whitened rows is ``phi^T K phi'``, and the length of one is its norm.
        """
        result = np.empty_like(rows, dtype=np.float64)
        for layer, root in zip(self.layers, self._roots, strict=True):
            result[:, layer.span] = rows[:, layer.span] @ root
        return result

    def norms(self, rows: np.ndarray) -> np.ndarray:
        """``sqrt(phi^T K phi)`` for rows (n, dims), (n,) float64."""
        return np.sqrt(self._squared_norms(rows, self._roots))

    def store_norms(self, store: GradientStore, row_set: str) -> np.ndarray:
        """``sqrt(phi^T K phi)`` of every row of a store, in float32 arithmetic, (rows,) float64."""
        scale = store.plan.scale_vector(row_set)
        roots = [
            (root * scale[layer.start]).astype(np.float32) for layer, root in zip(self.layers, self._roots, strict=True)
        ]
        norms = np.empty(store.rows)
        for start, block in store.blocks(row_set):
            norms[start : start + len(block)] = np.sqrt(self._squared_norms(block.astype(np.float32), roots))
        return norms

    def _squared_norms(self, rows: np.ndarray, roots: Sequence[np.ndarray]) -> np.ndarray:
        total = np.zeros(len(rows))
        for layer, root in zip(self.layers, roots, strict=True):
            whitened = rows[:, layer.span] @ root
            total += np.einsum("nd,nd->n", whitened, whitened, dtype=np.float64)
        return total


class JointPreconditioner(Preconditioner):
    """K over all dims at once, from one R that is not split into layers (TRAK's ``(Phi^T Phi)^-1``).

    Holds the Cholesky factor L of ``R + damping``, a tenth of the time that eigenvectors take. Dims in which no example
    has any gradient add nothing to any example's product; without any gradient at all, K = 0.
    """

    def __init__(self, autocorrelation: np.ndarray, damping_factor: float = DAMPING_FACTOR) -> None:
        """``autocorrelation`` (dims, dims) float64; the damping is a multiple of its mean eigenvalue."""
        mean = float(np.trace(autocorrelation)) / len(autocorrelation)
        self._factor: torch.Tensor | None = None
        if mean > np.finfo(np.float32).tiny:
            damped = torch.tensor(autocorrelation)
            damped.diagonal().add_(damping_factor * mean)
            self._factor = torch.linalg.cholesky(damped)

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """K phi for rows (n, dims) float64, by two triangular solves."""
        if self._factor is None:
            return np.zeros_like(rows)
        result: np.ndarray = torch.cholesky_solve(torch.tensor(rows).mT, self._factor).mT.numpy()
        return np.ascontiguousarray(result)

    def whiten(self, rows: np.ndarray) -> np.ndarray:
        """``L^-1 phi`` for rows (n, dims) float64: ``K^(1/2) phi`` up to a rotation."""
        if self._factor is None:
            return np.zeros_like(rows)
        whitened: np.ndarray = self._solved(rows).mT.numpy()
        return np.ascontiguousarray(whitened)

    def norms(self, rows: np.ndarray) -> np.ndarray:
        """``sqrt(phi^T K phi)`` for rows (n, dims), (n,) float64: the length of ``L^-1 phi``."""
        if self._factor is None:
            return np.zeros(len(rows))
        lengths: np.ndarray = self._solved(rows).norm(dim=0).numpy()
        return lengths

    def _solved(self, rows: np.ndarray) -> torch.Tensor:
        """``L^-1 phi``, (dims, n)."""
        assert self._factor is not None
        return torch.linalg.solve_triangular(self._factor, torch.tensor(rows).mT, upper=False)

    def store_norms(self, store: GradientStore, row_set: str) -> np.ndarray:
        """``sqrt(phi^T K phi)`` of every row of a store, scales undone, (rows,) float64."""
        scale = store.plan.scale_vector(row_set)
        return np.concatenate([self.norms(block * scale) for _, block in store.blocks(row_set)])


class Identity(Preconditioner):
    """K = I: gradient dot and cosine."""

    def __init__(self, layers: Sequence[LayerSlice]) -> None:
        self.layers = tuple(layers)

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """The rows themselves."""
        return rows.astype(np.float64)

    def whiten(self, rows: np.ndarray) -> np.ndarray:
        """The rows themselves."""
        return rows.astype(np.float64)

    def norms(self, rows: np.ndarray) -> np.ndarray:
        """Euclidean norms."""
        return np.linalg.norm(rows.astype(np.float64), axis=1)

    def store_norms(self, store: GradientStore, row_set: str) -> np.ndarray:
        """Euclidean norms of a store's rows, scales undone."""
        scale = store.plan.scale_vector(row_set).astype(np.float32)
        norms = np.empty(store.rows)
        for start, block in store.blocks(row_set):
            scaled = block * scale
            norms[start : start + len(block)] = np.sqrt(np.einsum("nd,nd->n", scaled, scaled, dtype=np.float64))
        return norms
