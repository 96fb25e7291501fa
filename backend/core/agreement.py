"""How far two rankings agree, from their stored top passages."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def overlap_at(left: Sequence[Hashable], right: Sequence[Hashable], k: int) -> float | None:
    """Share of the first k of one list that are among the first k of the other; None where either is empty.

    A list shorter than k counts with what it has: the shorter length is the divisor.
    """
    top, other = set(left[:k]), set(right[:k])
    shorter = min(len(top), len(other))
    return len(top & other) / shorter if shorter else None


def shared_rank_correlation(left: Sequence[Hashable], right: Sequence[Hashable]) -> tuple[float, int] | None:
    """Spearman's rho over the items that both lists hold, and their number; None for fewer than three.

    The lists are tops of longer rankings, so this says how alike both order what both find, and nothing of what
    only one of them finds: read it beside the overlap. Items of a list must differ.
    """
    shared = set(left) & set(right)
    n = len(shared)
    if n < 3:
        return None
    place = {item: rank for rank, item in enumerate(item for item in left if item in shared)}
    squares = sum((place[item] - rank) ** 2 for rank, item in enumerate(item for item in right if item in shared))
    return 1 - 6 * squares / (n * (n * n - 1)), n
