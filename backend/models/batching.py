"""Batches of token sequences of equal length: no padding, so no work on it and no mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def equal_length_batches(
    lengths: Sequence[int] | np.ndarray,
    *,
    max_tokens: int,
    max_rows: int | None = None,
    seed: int | None = None,
    epoch: int = 0,
) -> list[np.ndarray]:
    """Indices of the sequences of each batch, int64; every index exactly once.

    A batch holds sequences of one length, at most ``max_rows`` of them and at most ``max_tokens`` tokens (but
    at least one sequence). The sequences of a length are spread evenly over as few batches as can hold them,
    so none is left with a small remainder. Without a seed the batches come in order of length and the
    sequences in order of index; with one, both are shuffled, differently for each epoch. Deterministic,
    across numpy versions too.
    """
    if max_tokens < 1 or (max_rows is not None and max_rows < 1):
        raise ValueError(f"a batch must have room for a sequence: max_tokens={max_tokens}, max_rows={max_rows}")
    of_length = np.asarray(lengths, dtype=np.int64)
    if of_length.size and of_length.min() < 1:
        raise ValueError("every sequence must have a token")
    # RandomState's streams are frozen by numpy's compatibility policy, those of Generator are not.
    random = None if seed is None else np.random.RandomState([seed % 2**32, epoch])
    order = np.arange(of_length.size) if random is None else random.permutation(of_length.size)
    order = order[np.argsort(of_length[order], kind="stable")]
    batches: list[np.ndarray] = []
    starts = np.flatnonzero(np.diff(of_length[order], prepend=-1))
    for group in np.split(order, starts[1:]):
        if not group.size:
            continue
        rows = max(1, max_tokens // int(of_length[group[0]]))
        rows = rows if max_rows is None else min(rows, max_rows)
        batches.extend(np.array_split(group, -(-group.size // rows)))
    if random is None:
        return batches
    return [batches[index] for index in random.permutation(len(batches))]
