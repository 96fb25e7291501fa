"""The linear datamodeling score: do a method's scores foretell what training on a part of the corpus does?

For random halves S_j of the corpus, a method foretells ``p_j = sum of its scores in S_j``; training on S_j shows
``y_j``, the completion's mean log-probability over seeds. LDS is Spearman's correlation of p and y over the halves, for
each query, and its mean over queries (TRAK, arXiv 2303.14186, section 2.2, where p is taken to foretell the
model's output in the same way).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

RESAMPLES = 2000
"""Bootstrap resamples of the queries behind an interval."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over queries with its 95% bootstrap interval (percentiles of the resampled means)."""

    value: float
    low: float
    high: float
    n: int


def random_halves(passages: int, subsets: int, seed: int) -> np.ndarray:
    """(subsets, passages) bool: each subset holds half of the passages; more subsets begin with the same ones."""
    kept = np.zeros((subsets, passages), bool)
    for subset in range(subsets):
        order = np.random.RandomState([seed % 2**32, subset]).permutation(passages)
        kept[subset, order[: passages // 2]] = True
    return kept


def lds(kept: np.ndarray, scores: np.ndarray, log_probabilities: np.ndarray) -> np.ndarray:
    """LDS of each query, (queries,) float64.

    ``kept`` (subsets, passages) bool, ``scores`` (queries, passages), ``log_probabilities`` (subsets, seeds, queries).
    A method that foretells the same for every subset has 0.
    """
    foretold = kept.astype(np.float64) @ np.asarray(scores, np.float64).T
    return spearman(foretold, log_probabilities.mean(axis=1))


def ceiling(log_probabilities: np.ndarray) -> np.ndarray:
    """How well one seed's log-probabilities foretell the mean of the others', for each query, mean over seeds.

    ``log_probabilities`` (subsets, seeds, queries), at least two seeds.
    What seeds do not share, no method can know.
    """
    seeds = log_probabilities.shape[1]
    return np.mean(
        [
            spearman(log_probabilities[:, seed], np.delete(log_probabilities, seed, axis=1).mean(axis=1))
            for seed in range(seeds)
        ],
        axis=0,
    )


def spearman(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of equal columns of (n, columns) arrays, (columns,); 0 where a column is constant."""
    a, b = (rankdata(side, axis=0) for side in (left, right))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    size = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    return np.divide((a * b).sum(axis=0), size, out=np.zeros_like(size), where=size > 0)


def mean_with_interval(values: np.ndarray, seed: int) -> Mean:
    """Mean of values of queries, (queries,), resampled with a seed."""
    random = np.random.RandomState(seed % 2**32)
    means = values[random.randint(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Mean(float(values.mean()), float(low), float(high), len(values))
