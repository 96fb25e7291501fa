"""How far annotators agree on nominal and ordinal labels, with missing data.

Krippendorff's alpha (Krippendorff, Content Analysis, 4th ed., chapter 12; "Computing Krippendorff's Alpha-Reliability",
2011) is 1 - D_o / D_e: observed over expected disagreement, both from the matrix of coincidences. Values come from the
library `krippendorff`, 95% intervals from resampling units, over coincidences of our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import krippendorff
import numpy as np
from numpy.typing import NDArray

Level = Literal["nominal", "ordinal"]
RESAMPLES = 500
INTERVAL = (2.5, 97.5)

ONE_VALUE = "every judgement is the same, so there is nothing to agree or disagree about"
NO_PAIRS = "no passage has two judgements yet"
Counts = NDArray[np.int64]
"""(units, values): how many annotators gave each value to each unit; ordinal values in their order."""


@dataclass(frozen=True, slots=True)
class Alpha:
    """Krippendorff's alpha with its 95% interval; value None where it has no meaning, and then why."""

    value: float | None
    low: float | None
    high: float | None
    units: int
    """Units with at least two judgements, which alone count."""
    judgements: int
    """Of these units."""
    reason: str | None = None


def pairable(counts: Counts) -> Counts:
    """The units with at least two judgements."""
    paired: Counts = counts[counts.sum(axis=1) >= 2]
    return paired


def alpha(counts: Counts, level: Level, seed: int = 0) -> Alpha:
    """Alpha of some units."""
    counts = pairable(counts)
    units, judgements = len(counts), int(counts.sum())
    if not units:
        return Alpha(None, None, None, 0, 0, NO_PAIRS)
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return Alpha(None, None, None, units, judgements, ONE_VALUE)
    values = np.arange(counts.shape[1])
    value = krippendorff.alpha(value_counts=counts, value_domain=values, level_of_measurement=level)
    low, high = _interval(counts, level, seed)
    return Alpha(float(value), low, high, units, judgements)


def one_against_others(counts: Counts, value: int) -> Counts:
    """The same judgements, only whether they are of one value."""
    mine = counts[:, value]
    return np.stack([mine, counts.sum(axis=1) - mine], axis=1)


def coincidences(counts: Counts) -> NDArray[np.float64]:
    """(units, values, values): each unit's ordered pairs of judgements, over its number of judgements less one."""
    counts = pairable(counts)
    pairs = counts[:, :, None] * counts[:, None, :] - np.eye(counts.shape[1], dtype=int) * counts[:, None, :]
    scaled: NDArray[np.float64] = pairs / (counts.sum(axis=1)[:, None, None] - 1)
    return scaled


def confusion(counts: Counts) -> Counts:
    """(values, values), symmetric: pairs of judgements of one unit; those of two equal ones count once."""
    counts = pairable(counts)
    pairs = (counts[:, :, None] * counts[:, None, :]).sum(axis=0)
    same = (counts * (counts - 1) // 2).sum(axis=0)
    np.fill_diagonal(pairs, same)
    return pairs


def disagreement(counts: Counts) -> NDArray[np.float64]:
    """(units,): the share of a unit's pairs of judgements that differ; 0 where there are no pairs."""
    judgements = counts.sum(axis=1)
    pairs = judgements * (judgements - 1)
    same = (counts * (counts - 1)).sum(axis=1)
    return np.where(pairs > 0, 1 - same / np.maximum(pairs, 1), 0.0)


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """The 95% interval of a mean by resampling the values; None for fewer than two."""
    if len(values) < 2:
        return None
    given = np.asarray(values)
    drawn = np.random.default_rng(seed).integers(0, len(given), (RESAMPLES, len(given)))
    low, high = np.percentile(given[drawn].mean(axis=1), INTERVAL)
    return float(low), float(high)


def _interval(counts: Counts, level: Level, seed: int) -> tuple[float | None, float | None]:
    """Percentiles of alpha over resampled units; None where too few resamples have an alpha."""
    units = len(counts)
    weights = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), RESAMPLES)
    flat = coincidences(counts).reshape(units, -1)
    drawn = (weights @ flat).reshape(RESAMPLES, counts.shape[1], counts.shape[1])
    values = alpha_of_coincidences(drawn, level)
    values = values[np.isfinite(values)]
    if len(values) < RESAMPLES / 2:
        return None, None
    low, high = np.percentile(values, INTERVAL)
    return float(low), float(high)


def alpha_of_coincidences(matrices: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """(n,): alpha of each of (n, values, values) matrices of coincidences; NaN where it has no meaning."""
    totals = matrices.sum(axis=2)
    size = matrices.shape[1]
    if level == "nominal":
        distance = np.broadcast_to(1.0 - np.eye(size), matrices.shape)
    else:
        upto = totals.cumsum(axis=1)
        between = np.abs(upto[:, :, None] - upto[:, None, :])  # counts above the one, up to the other
        lower = np.minimum.outer(np.arange(size), np.arange(size))
        upper = np.maximum.outer(np.arange(size), np.arange(size))
        distance = (between + totals[:, lower] - (totals[:, lower] + totals[:, upper]) / 2) ** 2
    observed = (matrices * distance).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * distance).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = 1 - (totals.sum(axis=1) - 1) * observed / expected
    return np.where(expected > 0, found, np.nan)
