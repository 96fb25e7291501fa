"""How well dot products of projected gradients stand for those of the gradients themselves.

For a sample of queries and passages: the dot products ``sum over layers of <G_m, G_q>`` of whole gradients against
those of ``P_out^T G P_in``, by the rank of the projections, raw and with V. Nothing is stored; passages are encoded a
batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from backend.gradients.build import EncodableModel
from backend.gradients.encoder import GradientEncoder
from backend.gradients.examples import Example, Examples
from backend.gradients.layers import TrackedLayer, select_layers
from backend.gradients.principal_axes import SAMPLE_EXAMPLES, PrincipalAxes, principal_axes
from backend.gradients.projections import (
    PCA,
    RANDOM,
    ROW_SETS,
    LayerProjection,
    ProjectionConfig,
    layer_projections,
)
from backend.gradients.second_moment import FactoredSecondMoment
from backend.models.batching import equal_length_batches

RANKS = (2, 4, 8, 12, 16, 24, 32, 64)
"""Ranks of the projections on each side that are tried, as far as a model's layers are wider."""

MOST_TOKENS = 4096
"""Of a batch."""

MOST_BYTES = 120_000_000
"""Of the rows of a batch, all projections together."""

Progress = Callable[[int, int, str], None]
"""(done, total, message), in encodings of a passage."""

Name = tuple[str, str, int | None]
"""Row set, kind (random or pca) and rank (None: whole gradients) of projections."""


@dataclass(frozen=True)
class FidelitySubject:
    """What is compared: passages and queries as a store encodes them, and the store's V."""

    model: EncodableModel
    second_moments: Mapping[str, FactoredSecondMoment]
    passages: Sequence[Example]
    queries: Sequence[Example]
    corpus: Sequence[Example]
    """Of these a sample gives the principal axes, as when a store is made."""


def measure_fidelity(subject: FidelitySubject, seed: int, progress: Progress) -> list[dict[str, Any]]:
    """Rows of ``row_set``, ``projection``, ``rank``, ``dims`` (length of a projected row) and what ``agreement`` finds.

    ``seed`` is the projections'. A rank is left out where no layer has a side that is wider.
    """
    layers = select_layers(subject.model.model).tracked
    widest = max(max(layer.inputs, layer.outputs) for layer in layers)
    ranks = [rank for rank in RANKS if rank < widest]
    progress(0, 2 * len(subject.passages), "principal axes")
    axes = _principal_axes(subject, layers, ranks)

    def projections(kind: str, rank: int | None) -> dict[Name, list[LayerProjection]]:
        onto = axes[rank] if kind == PCA and rank is not None else None
        of_rank = layer_projections(layers, ProjectionConfig(rank, seed), subject.second_moments, onto)
        return {(row_set, kind, rank): of_rank[row_set] for row_set in ROW_SETS}

    whole = projections(RANDOM, None)
    exact = _products(subject, whole, lambda done, total: progress(done, 2 * total, "whole gradients"))
    kinds = (RANDOM, PCA)
    tried = {key: found for kind in kinds for rank in ranks for key, found in projections(kind, rank).items()}
    projected = _products(subject, tried, lambda done, total: progress(total + done, 2 * total, "projected gradients"))
    return [
        {
            "row_set": row_set,
            "projection": kind,
            "rank": rank,
            "dims": sum(projection.dims for projection in tried[row_set, kind, rank]),
            **agreement(projected[row_set, kind, rank], exact[row_set, RANDOM, None]),
        }
        for row_set in ROW_SETS
        for kind in kinds
        for rank in ranks
    ]


def _principal_axes(
    subject: FidelitySubject, layers: Sequence[TrackedLayer], ranks: Sequence[int]
) -> dict[int, dict[str, dict[str, PrincipalAxes]]]:
    """Rank -> layer -> row set -> axes."""
    examples = Examples(subject.corpus, MOST_TOKENS)

    def passes(group: Sequence[TrackedLayer], add: Callable[[int, Tensor, Tensor], None]) -> None:
        examples.pass_over_sample(
            subject.model.model,
            subject.model.device,
            SAMPLE_EXAMPLES,
            group,
            lambda index, positions, x, d: add(index, x, d),
        )

    return principal_axes(layers, subject.second_moments, ranks, subject.model.device, passes)


def agreement(left: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """How far one matrix (queries, passages) stands for another, the true one.

    ``pearson`` and ``spearman``: mean over the queries of the correlation over the passages. ``noise``: median over the
    queries of the standard deviation of the error, in standard deviations of the true values.
    """
    spread = right.std(axis=1)
    noise = np.divide((left - right).std(axis=1), spread, out=np.zeros_like(spread), where=spread > 0)
    return {
        "pearson": _mean_correlation(left, right),
        "spearman": _mean_correlation(rankdata(left, axis=1), rankdata(right, axis=1)),
        "noise": float(np.median(noise)),
    }


def _products(
    subject: FidelitySubject, projections: Mapping[Name, Sequence[LayerProjection]], told: Callable[[int, int], None]
) -> dict[Name, np.ndarray]:
    """Dot products (queries, passages) float64 by each of the projections, all from one pass over the examples."""
    names = {str(name): name for name in projections}
    encoder = GradientEncoder(
        subject.model.model,
        select_layers(subject.model.model).tracked,
        {text: projections[name] for text, name in names.items()},
        subject.model.device,
    )
    most = max(1, MOST_BYTES // (4 * sum(encoder.dims.values())))
    queries = {
        text: torch.empty(len(subject.queries), dims, device=encoder.device) for text, dims in encoder.dims.items()
    }
    for positions, rows in _encoded(encoder, subject.queries, most):
        for text, of_all in queries.items():
            of_all[positions] = rows[text]
    found = {name: np.empty((len(subject.queries), len(subject.passages))) for name in projections}
    done = 0
    for positions, rows in _encoded(encoder, subject.passages, most):
        for text, name in names.items():
            found[name][:, positions] = (queries[text] @ rows[text].mT).cpu().numpy()
        done += len(positions)
        told(done, len(subject.passages))
    return found


def _encoded(
    encoder: GradientEncoder, examples: Sequence[Example], most: int
) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """(positions, row set -> rows) of a batch at a time, at most ``most`` examples."""
    given = Examples(examples, MOST_TOKENS)
    for batch in equal_length_batches(given.lengths, max_tokens=MOST_TOKENS, max_rows=most):
        yield batch, encoder.encode(*given.tensors(batch)).rows


def _mean_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Mean over rows of Pearson's correlation; 0 for a row without any spread."""
    left = left - left.mean(axis=1, keepdims=True)
    right = right - right.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    products = np.einsum("qp,qp->q", left, right)
    return float(np.mean(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)))
