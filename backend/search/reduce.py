"""Reduce a score matrix to rankings: top and bottom passages, and each query's score distribution.

The matrix is spooled to a file of queries x passages in float32, so memory does not grow with the corpus; the best
candidates are then scored again in float64, so that their order does not depend on threads or block sizes. Ties
are broken by passage id.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.core.errors import UserError
from backend.search.scoring import Scorer

HISTOGRAM_BINS = 64
QUANTILES = 1001
OVERSAMPLE = 4
"""Candidates scored again in float64, as a multiple of what is kept."""


@dataclass
class Rankings:
    """Rankings of all queries; positions are -1 where fewer passages than asked for have a score of that sign."""

    proponents: np.ndarray
    proponent_scores: np.ndarray
    proponent_percentiles: np.ndarray
    opponents: np.ndarray
    opponent_scores: np.ndarray
    opponent_percentiles: np.ndarray
    histogram: np.ndarray
    range: np.ndarray
    quantiles: np.ndarray
    scored: int
    matrix: np.ndarray | None
    """The whole matrix in fp16, or None where it is over the limit."""
    matrix_scales: np.ndarray | None
    """Powers of two, one a query: score = matrix value x scale."""


def reduce_scores(
    scorer: Scorer,
    queries: int,
    passage_ids: Sequence[str],
    *,
    proponents: int = 100,
    opponents: int = 20,
    matrix_limit_bytes: int = 1 << 28,
    spool_folder: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rankings:
    """Run a scorer over everything and keep what pages and analyses need.

    Raises UserError naming the passage if a score is not finite.
    """
    count = len(passage_ids)
    tie_order = np.argsort(np.argsort(np.asarray(passage_ids, dtype=object), kind="stable"), kind="stable")
    keep_matrix = queries * count * 2 <= matrix_limit_bytes
    result = Rankings(
        proponents=np.full((queries, proponents), -1, np.int32),
        proponent_scores=np.full((queries, proponents), np.nan),
        proponent_percentiles=np.full((queries, proponents), np.nan, np.float32),
        opponents=np.full((queries, opponents), -1, np.int32),
        opponent_scores=np.full((queries, opponents), np.nan),
        opponent_percentiles=np.full((queries, opponents), np.nan, np.float32),
        histogram=np.zeros((queries, HISTOGRAM_BINS), np.int32),
        range=np.zeros((queries, 2)),
        quantiles=np.zeros((queries, QUANTILES), np.float32),
        scored=count,
        matrix=np.zeros((queries, count), np.float16) if keep_matrix else None,
        matrix_scales=np.ones(queries, np.float32) if keep_matrix else None,
    )
    with tempfile.TemporaryFile(dir=spool_folder) as spool:
        # Reserved, not just sized: writing to a memory map on a full disk would end the process without a word.
        os.posix_fallocate(spool.fileno(), 0, max(1, queries * count * 4))
        matrix = np.memmap(spool, dtype=np.float32, mode="r+", shape=(queries, count))
        scored = 0
        for tile in scorer.tiles():
            if not np.isfinite(tile.scores).all():
                _, bad = np.argwhere(~np.isfinite(tile.scores))[0]
                raise UserError(
                    f"The score of passage {passage_ids[tile.passages.start + int(bad)]!r} is not a finite number.",
                    "Check the gradient store with `proponent verify`.",
                )
            matrix[tile.queries, tile.passages] = tile.scores
            scored += tile.scores.size
            progress(scored, queries * count)
        for query in range(queries):
            _reduce_row(result, scorer, query, np.array(matrix[query]), tie_order)
    return result


def _reduce_row(result: Rankings, scorer: Scorer, query: int, scores: np.ndarray, tie_order: np.ndarray) -> None:
    ordered = np.sort(scores)
    low, high = float(ordered[0]), float(ordered[-1])
    result.range[query] = low, high
    result.histogram[query] = _histogram(scores, low, high)
    result.quantiles[query] = np.quantile(ordered, np.linspace(0, 1, QUANTILES))
    if result.matrix is not None and result.matrix_scales is not None:
        largest = max(abs(low), abs(high))
        exponent = 0 if largest == 0 else max(-120, int(np.ceil(np.log2(largest))) - 10)
        result.matrix_scales[query] = 2.0**exponent
        result.matrix[query] = scores / np.float32(2.0**exponent)
    for sign, positions, kept_scores, percentiles in (
        (1, result.proponents, result.proponent_scores, result.proponent_percentiles),
        (-1, result.opponents, result.opponent_scores, result.opponent_percentiles),
    ):
        best, exact = _best(scorer, query, scores, sign, positions.shape[1], tie_order)
        positions[query, : len(best)] = best
        kept_scores[query, : len(best)] = exact
        below = np.searchsorted(ordered, scores[best], side="left")
        upto = np.searchsorted(ordered, scores[best], side="right")
        percentiles[query, : len(best)] = 100.0 * (below + upto) / (2.0 * len(ordered))


def _best(
    scorer: Scorer, query: int, scores: np.ndarray, sign: int, keep: int, tie_order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and float64 scores of the ``keep`` highest positive (sign 1) or lowest negative (sign -1) scores.

    A passage with a score of zero is neither a proponent nor an opponent.
    """
    wanted = min(len(scores), keep * OVERSAMPLE)
    if wanted < len(scores):
        threshold = np.partition(-sign * scores, wanted - 1)[wanted - 1]
        candidates = np.flatnonzero(-sign * scores <= threshold)
        if len(candidates) > 4 * wanted:
            # Many passages share the threshold's score (BM25's zeros): of those, the first by id are enough.
            tied = candidates[-sign * scores[candidates] == threshold]
            better = candidates[-sign * scores[candidates] < threshold]
            tied = tied[np.argsort(tie_order[tied], kind="stable")][:wanted]
            candidates = np.concatenate([better, tied])
    else:
        candidates = np.arange(len(scores))
    exact = scorer.exact(query, candidates)
    order = np.lexsort((tie_order[candidates], -sign * exact))[:keep]
    order = order[sign * exact[order] > 0]
    return candidates[order].astype(np.int32), exact[order]


def _histogram(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    width = (high - low) or 1.0
    bins = ((scores.astype(np.float64) - low) / width * HISTOGRAM_BINS).astype(np.int64)
    return np.bincount(bins.clip(0, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS).astype(np.int32)
