"""Near-duplicate groups against comparing every pair."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from backend.core.records import Passage
from backend.corpora.near_duplicates import (
    THRESHOLD,
    jaccard,
    near_duplicate_groups,
    shingles,
    tokens,
    with_groups,
)


def brute_force(texts: list[str]) -> list[int | None]:
    """Connected components over all pairs at or above the threshold."""
    sets = [shingles(tokens(text)) for text in texts]
    group = list(range(len(texts)))
    for right in range(len(texts)):
        for left in range(right):
            same = texts[left] == texts[right]
            both = bool(tokens(texts[left])) and bool(tokens(texts[right]))
            if same or (both and jaccard(sets[left], sets[right]) >= THRESHOLD):
                low, high = sorted((group[left], group[right]))
                group = [low if member == high else member for member in group]
    return [first if group.count(first) > 1 else None for first in group]


def test_case_spacing_and_punctuation_make_no_difference() -> None:
    assert near_duplicate_groups(["One, two three!", "x y z", "one  two THREE"]) == [0, None, 0]


def test_signs_make_a_difference() -> None:
    assert near_duplicate_groups(["3 + 4 = 7", "3 - 4 = 7", "...", "!!!", "..."]) == [None, None, 2, None, 2]


def test_groups_are_named_by_the_first_passage() -> None:
    passages = [Passage("a", "same words here"), Passage("b", "other"), Passage("c", "Same words here.")]
    assert [passage.group for passage in with_groups(passages)] == ["a", None, "a"]


def test_nothing_and_one() -> None:
    assert near_duplicate_groups([]) == []
    assert near_duplicate_groups(["x"]) == [None]


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=12).map(" ".join), max_size=12))
def test_small_texts_equal_brute_force(texts: list[str]) -> None:
    found = near_duplicate_groups(texts)
    assert found == brute_force(texts)


def test_edited_copies_equal_brute_force() -> None:
    rng = random.Random(3)
    vocabulary = [f"word{number}" for number in range(400)]
    texts = []
    for _ in range(60):
        sentence = [rng.choice(vocabulary) for _ in range(40)]
        for edits in (0, 1, 1, 2, 4):
            copy = list(sentence)
            for _ in range(edits):
                copy[rng.randrange(len(copy))] = rng.choice(vocabulary)
            texts.append(" ".join(copy))
    rng.shuffle(texts)
    assert near_duplicate_groups(texts) == brute_force(texts)
