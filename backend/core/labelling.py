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


class Sample:
    """Units with their judgements, resampled once for all the alphas that are asked of them."""

    def __init__(self, counts: Counts, seed: int = 0) -> None:
        self._counts = pairable(counts)
        units, values = self._counts.shape
        drawn = np.random.default_rng(seed).integers(0, max(units, 1), (RESAMPLES, units))
        rows = np.arange(RESAMPLES)[:, None] * units
        weights = np.bincount((drawn + rows).ravel(), minlength=RESAMPLES * units).reshape(RESAMPLES, units)
        flat = coincidences(self._counts).reshape(units, values * values)
        self._drawn = (weights @ flat).reshape(RESAMPLES, values, values)
        """(resamples, values, values): each resample's matrix of coincidences."""

    def alpha(self, level: Level) -> Alpha:
        """Alpha over all values."""
        return _alpha(self._counts, self._drawn, level)

    def of_value(self, value: int) -> Alpha:
        """Nominal alpha of one value against all others."""
        rest = [other for other in range(self._counts.shape[1]) if other != value]
        parts = [[value], rest]
        drawn = np.stack(
            [np.stack([self._drawn[:, one][:, :, other].sum(axis=(1, 2)) for other in parts], 1) for one in parts], 1
        )
        counts = np.stack([self._counts[:, part].sum(axis=1) for part in parts], axis=1)
        return _alpha(counts, drawn, "nominal")


def alpha(counts: Counts, level: Level, seed: int = 0) -> Alpha:
    """Alpha of some units."""
    return Sample(counts, seed).alpha(level)


def _alpha(counts: Counts, drawn: NDArray[np.float64], level: Level) -> Alpha:
    """Alpha of paired units, and its interval by their resampled coincidences."""
    units, judgements = len(counts), int(counts.sum())
    if not units:
        return Alpha(None, None, None, 0, 0, NO_PAIRS)
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return Alpha(None, None, None, units, judgements, ONE_VALUE)
    domain = np.arange(counts.shape[1])
    value = krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level)
    values = alpha_of_coincidences(drawn, level)
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, INTERVAL) if len(values) >= RESAMPLES / 2 else (None, None)
    bounds = [None if bound is None else float(bound) for bound in (low, high)]
    return Alpha(float(value), bounds[0], bounds[1], units, judgements)


def pairable(counts: Counts) -> Counts:
    """The units with at least two judgements."""
    paired: Counts = counts[counts.sum(axis=1) >= 2]
    return paired


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
