from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.models.batching import equal_length_batches

lengths = st.lists(st.integers(1, 12), max_size=80)
max_tokens = st.integers(1, 60)
max_rows = st.none() | st.integers(1, 9)
seeds = st.none() | st.integers(0, 5)


@given(lengths, max_tokens, max_rows, seeds, st.integers(0, 3))
def test_every_index_is_in_one_batch_of_equal_lengths_within_the_bounds(
    of_length: list[int], tokens: int, rows: int | None, seed: int | None, epoch: int
) -> None:
    batches = equal_length_batches(of_length, max_tokens=tokens, max_rows=rows, seed=seed, epoch=epoch)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(of_length)))
    for batch in batches:
        assert len({of_length[i] for i in batch}) == 1
        assert rows is None or len(batch) <= rows
        assert len(batch) == 1 or len(batch) * of_length[batch[0]] <= tokens
    again = equal_length_batches(of_length, max_tokens=tokens, max_rows=rows, seed=seed, epoch=epoch)
    assert [batch.tolist() for batch in batches] == [batch.tolist() for batch in again]


@given(lengths, max_tokens)
def test_batches_of_a_length_are_few_and_of_nearly_one_size(of_length: list[int], tokens: int) -> None:
    sizes: dict[int, list[int]] = {}
    for batch in equal_length_batches(of_length, max_tokens=tokens):
        sizes.setdefault(of_length[batch[0]], []).append(len(batch))
    for length, of_batches in sizes.items():
        assert max(of_batches) - min(of_batches) <= 1
        assert len(of_batches) == -(-sum(of_batches) // max(1, tokens // length))


def test_unshuffled_order_is_by_length_then_index() -> None:
    batches = equal_length_batches([3, 2, 3, 2, 3], max_tokens=6)
    assert [batch.tolist() for batch in batches] == [[1, 3], [0, 2], [4]]


def test_shuffles_are_those_of_every_numpy_version() -> None:
    batches = equal_length_batches([3, 2, 3, 2, 3], max_tokens=6, seed=7, epoch=1)
    assert [batch.tolist() for batch in batches] == [[2, 0], [3, 1], [4]]


def test_epochs_differ() -> None:
    of_length = np.full(40, 4)
    first, second = (equal_length_batches(of_length, max_tokens=16, seed=0, epoch=e) for e in (0, 1))
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()


def test_no_sequences_give_no_batches_and_empty_ones_are_refused() -> None:
    assert equal_length_batches([], max_tokens=5) == []
    with pytest.raises(ValueError, match="must have a token"):
        equal_length_batches([0], max_tokens=5)
    with pytest.raises(ValueError, match="room for a sequence"):
        equal_length_batches([1], max_tokens=0)
