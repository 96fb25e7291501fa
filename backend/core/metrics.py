"""Retrieval metrics over a ranking's stored top passages, and frequency buckets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

BUCKETS = ("0", "1", "2-4", "5-9", "10-49", "50+")
_LOWER_BOUNDS = (0, 1, 2, 5, 10, 50)


def frequency_bucket(frequency: int | None) -> str | None:
    """The bucket of a fact that ``frequency`` passages state; None for no frequency."""
    if frequency is None:
        return None
    if frequency < 0:
        raise ValueError(f"a frequency cannot be negative: {frequency}")
    index = max(i for i, bound in enumerate(_LOWER_BOUNDS) if frequency >= bound)
    return BUCKETS[index]


@dataclass(frozen=True, slots=True)
class RetrievalMetrics:
    """How well one ranking finds the entailing passages (TrackStar, section 4.1)."""

    reciprocal_rank: float
    """1 / rank of the first entailing passage; 0 where none is among the stored passages."""
    recall_at_10: float
    """1 if an entailing passage is among the first ten, else 0: averaged, the share of facts that are traced."""
    precision_at_1: float
    precision_at_10: float


def retrieval_metrics(ranked: Sequence[str], entails: Collection[str] | None) -> RetrievalMetrics | None:
    """Metrics of one ranking, best passage first; None where no passage entails the query."""
    if not entails:
        return None
    hits = [passage in entails for passage in ranked]
    first = next((rank for rank, hit in enumerate(hits, start=1) if hit), None)
    return RetrievalMetrics(
        reciprocal_rank=0.0 if first is None else 1.0 / first,
        recall_at_10=float(any(hits[:10])),
        precision_at_1=float(any(hits[:1])),
        precision_at_10=sum(hits[:10]) / 10,
    )


TAIL_PATCH_DEPTHS = {"tail_patch": 10, "tail_patch_1": 1, "tail_patch_3": 3, "tail_patch_5": 5}
"""Name of a mean tail-patch -> how many of a list's first passages it is over; that over ten stands for the list."""


def tail_patch_means(changes: Sequence[float], k: int) -> dict[str, float | None]:
    """Mean tail-patch of a list's first passages at each depth, in the unit of ``changes``, first passage first.

    ``k`` is how deep was measured: None at depths beyond it, and of an empty list. A list that ends before a depth has
    the mean of what it holds.
    """
    return {name: mean(changes[:depth]) if depth <= k else None for name, depth in TAIL_PATCH_DEPTHS.items()}


def mean(values: Iterable[float]) -> float | None:
    """Arithmetic mean; None of nothing."""
    collected = list(values)
    return sum(collected) / len(collected) if collected else None


def by_task_and_bucket(items: Iterable[tuple[str, str | None, T]]) -> dict[tuple[str, str], list[T]]:
    """Values of (task, bucket, value), each also under "" for all tasks and for all buckets; in reading order."""
    cells: dict[tuple[str, str], list[T]] = defaultdict(list)
    for task, bucket, value in items:
        for of_task in (task, ""):
            for of_bucket in {bucket or "", ""}:
                cells[of_task, of_bucket].append(value)
    order = ("", *BUCKETS)
    return {cell: cells[cell] for cell in sorted(cells, key=lambda cell: (cell[0], order.index(cell[1])))}
