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
from functools import partial
from pathlib import Path

import numpy as np

from backend.core.errors import UserError
from backend.search.scoring import Scorer

PROPONENTS, OPPONENTS = 100, 20
"""Passages of a query's list that a run keeps, on each side."""

HISTOGRAM_BINS = 64
QUANTILES = 1001
OVERSAMPLE = 4
"""Candidates scored again in float64, as a multiple of what is kept."""
WIDENING = (OVERSAMPLE, 16, 64, 256)
"""The same for approximate scores: the next where one is not enough."""
EXACT_AT_ONCE = 1024
"""Candidates whose rows are in memory at one time where there may be many."""

Exact = Callable[[np.ndarray], np.ndarray]
"""Scores in float64 of some passages (positions) for one query."""


@dataclass(frozen=True)
class Listed:
    """One query's best and worst passages; lists are as long as scores of their sign were found."""

    proponents: np.ndarray
    """Positions, int32, best first."""
    proponent_scores: np.ndarray
    """float64."""
    opponents: np.ndarray
    opponent_scores: np.ndarray


@dataclass(frozen=True)
class QueryRanking(Listed):
    """The same from the scores of all passages, and their distribution."""

    proponent_percentiles: np.ndarray
    """float32, in percent."""
    opponent_percentiles: np.ndarray
    histogram: np.ndarray
    """Passages in each of 64 equal intervals of the range, int32."""
    range: tuple[float, float]
    """Lowest and highest score."""
    scored: int
    """Passages in all."""


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
    tie_order = ties_by_id(passage_ids)
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
            _keep_row(result, query, np.array(matrix[query]), partial(scorer.exact, query), tie_order)
    return result


def _keep_row(result: Rankings, query: int, scores: np.ndarray, exact: Exact, tie_order: np.ndarray) -> None:
    ranking = reduce_query(
        scores, exact, tie_order, proponents=result.proponents.shape[1], opponents=result.opponents.shape[1]
    )
    low, high = ranking.range
    result.range[query] = low, high
    result.histogram[query] = ranking.histogram
    result.quantiles[query] = np.quantile(np.sort(scores), np.linspace(0, 1, QUANTILES))
    if result.matrix is not None and result.matrix_scales is not None:
        largest = max(abs(low), abs(high))
        exponent = 0 if largest == 0 else max(-120, int(np.ceil(np.log2(largest))) - 10)
        result.matrix_scales[query] = 2.0**exponent
        result.matrix[query] = scores / np.float32(2.0**exponent)
    for kept, array in (
        (ranking.proponents, result.proponents),
        (ranking.proponent_scores, result.proponent_scores),
        (ranking.proponent_percentiles, result.proponent_percentiles),
        (ranking.opponents, result.opponents),
        (ranking.opponent_scores, result.opponent_scores),
        (ranking.opponent_percentiles, result.opponent_percentiles),
    ):
        array[query, : len(kept)] = kept


def ties_by_id(passage_ids: Sequence[str]) -> np.ndarray:
    """Each passage's place among all ids in order, (passages,): what decides between equal scores."""
    return np.argsort(np.argsort(np.asarray(passage_ids, dtype=object), kind="stable"), kind="stable")


def reduce_query(
    scores: np.ndarray,
    exact: Exact,
    tie_order: np.ndarray,
    *,
    proponents: int,
    opponents: int,
    approximate: bool = False,
) -> QueryRanking:
    """One query's ranking from its scores of all passages, (passages,) float32.

    The best candidates are scored again by ``exact`` before they are put in order. With ``approximate``, more of them
    are taken where the errors found are large, and exact scores also replace theirs in ``scores`` itself, so that
    histogram, range and percentiles have them.

    Raises UserError if a score is not finite.
    """
    rescored = _rescored_widely if approximate else _rescored
    best, best_exact = rescored(scores, exact, 1, proponents, tie_order)
    worst, worst_exact = rescored(scores, exact, -1, opponents, tie_order)
    if approximate:
        scores[best], scores[worst] = best_exact, worst_exact
    low, high = float(scores.min()), float(scores.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UserError(
            "The score of a passage is not a finite number.", "Check the gradient store with `proponent verify`."
        )
    best, best_exact = _ordered(best, best_exact, 1, proponents, tie_order)
    worst, worst_exact = _ordered(worst, worst_exact, -1, opponents, tie_order)
    return QueryRanking(
        proponents=best,
        proponent_scores=best_exact,
        proponent_percentiles=_percentiles(scores, scores[best], 1),
        opponents=worst,
        opponent_scores=worst_exact,
        opponent_percentiles=_percentiles(scores, scores[worst], -1),
        histogram=_histogram(scores, low, high),
        range=(low, high),
        scored=len(scores),
    )


def rank_candidates(
    best: np.ndarray,
    worst: np.ndarray,
    exact: Exact,
    tie_order: np.ndarray,
    *,
    proponents: int,
    opponents: int,
) -> Listed:
    """Lists from candidates (positions) alone, in the order of ``reduce_query``; no other passage is scored."""
    listed: list[np.ndarray] = []
    for candidates, sign, keep in ((best, 1, proponents), (worst, -1, opponents)):
        listed += _ordered(candidates, _exact_in_parts(candidates, exact), sign, keep, tie_order)
    return Listed(*listed)


def _exact_in_parts(candidates: np.ndarray, exact: Exact) -> np.ndarray:
    parts = np.split(candidates, range(EXACT_AT_ONCE, len(candidates), EXACT_AT_ONCE))
    return np.concatenate([exact(part) for part in parts])


def _rescored(
    scores: np.ndarray, exact: Exact, sign: int, keep: int, tie_order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and exact scores of the candidates for the ``keep`` highest (sign 1) or lowest (sign -1)."""
    candidates = _candidates(scores, sign, keep * OVERSAMPLE, tie_order)
    return candidates, exact(candidates)


def _rescored_widely(
    scores: np.ndarray, exact: Exact, sign: int, keep: int, tie_order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same from approximate scores, with more candidates until those left out are too low to be kept.

    Too low is what stays below the last kept score even with twice the largest error among the candidates.
    """
    for oversample in WIDENING:
        candidates = _candidates(scores, sign, keep * oversample, tie_order)
        values = _exact_in_parts(candidates, exact)
        if keep == 0 or len(candidates) == len(scores):
            break
        error = np.abs(values - scores[candidates]).max()
        last_kept = np.partition(-sign * values, keep - 1)[keep - 1]
        if (-sign * scores[candidates]).max() - 2 * error >= min(last_kept, 0.0):
            break
    return candidates, values


def _candidates(scores: np.ndarray, sign: int, wanted: int, tie_order: np.ndarray) -> np.ndarray:
    """Positions of at least so many highest (sign 1) or lowest (sign -1) scores."""
    wanted = min(len(scores), wanted)
    if wanted == len(scores):
        return np.arange(len(scores))
    if wanted == 0:
        return np.empty(0, np.intp)
    keys = -sign * scores
    threshold = np.partition(keys, wanted - 1)[wanted - 1]
    candidates = np.flatnonzero(keys <= threshold)
    if len(candidates) > 4 * wanted:
        # Many passages share the threshold's score (BM25's zeros): of those, the first by id are enough.
        tied = candidates[keys[candidates] == threshold]
        better = candidates[keys[candidates] < threshold]
        tied = tied[np.argsort(tie_order[tied], kind="stable")][:wanted]
        candidates = np.concatenate([better, tied])
    return candidates


def _ordered(
    candidates: np.ndarray, exact: np.ndarray, sign: int, keep: int, tie_order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and float64 scores of the ``keep`` best positive (sign 1) or negative (sign -1) candidates.

    A passage with a score of zero is neither a proponent nor an opponent.
    """
    order = np.lexsort((tie_order[candidates], -sign * exact))[:keep]
    order = order[sign * exact[order] > 0]
    return candidates[order].astype(np.int32), exact[order]


def _percentiles(scores: np.ndarray, kept: np.ndarray, sign: int) -> np.ndarray:
    """Share of lower scores (half of equal ones), in percent, (kept,) float32, for scores at one end of all.

    Only that end is sorted: for sign 1 the scores from the lowest kept one up, for -1 up to the highest kept one.
    """
    if not len(kept):
        return np.empty(0, np.float32)
    end = np.sort(scores[scores >= kept.min()] if sign > 0 else scores[scores <= kept.max()])
    before = len(scores) - len(end) if sign > 0 else 0
    below = before + np.searchsorted(end, kept, side="left")
    upto = before + np.searchsorted(end, kept, side="right")
    percentiles: np.ndarray = (100.0 * (below + upto) / (2.0 * len(scores))).astype(np.float32)
    return percentiles


def _histogram(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    width = (high - low) or 1.0
    bins = ((scores.astype(np.float64) - low) / width * HISTOGRAM_BINS).astype(np.int64)
    return np.bincount(bins.clip(0, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS).astype(np.int32)
