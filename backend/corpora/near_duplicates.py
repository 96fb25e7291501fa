"""Groups of near-duplicates: passages whose word shingles have a Jaccard similarity of at least 0.8.

MinHash and locality-sensitive hashing propose pairs, the exact similarity decides, and pairs are joined to
groups (Broder 1997). Words alone would make "3 + 4 = 7" and "3 - 4 = 7" equal, so signs count as words here.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import replace

from datasketch import MinHash, MinHashLSH

from backend.core.records import Passage

THRESHOLD = 0.8
SHINGLE_WORDS = 3
BANDS, ROWS = 20, 5
"""A pair at the threshold is proposed with probability 1 - (1 - 0.8^5)^20 = 0.9996."""
SEED = 1

_TOKEN = re.compile(r"\w+|[^\w\s.,;:!?'’\"“”()]")


def tokens(text: str) -> tuple[str, ...]:
    """The words and signs that shingles are made of: lower case, without punctuation."""
    return tuple(_TOKEN.findall(text.lower()))


def shingles(sequence: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """All runs of SHINGLE_WORDS tokens; a shorter text is one shingle."""
    last = max(1, len(sequence) - SHINGLE_WORDS + 1)
    return frozenset(tuple(sequence[start : start + SHINGLE_WORDS]) for start in range(last))


def jaccard(left: frozenset[tuple[str, ...]], right: frozenset[tuple[str, ...]]) -> float:
    """Size of the intersection over size of the union."""
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def near_duplicate_groups(texts: Sequence[str], threshold: float = THRESHOLD) -> list[int | None]:
    """For each text the position of the first text of its group; None for a text without a near-duplicate.

    Deterministic: hashing is seeded and texts are taken in order. Texts that are equal up to case, spacing
    and punctuation are joined first, so that only distinct ones are hashed.
    """
    parents = list(range(len(texts)))

    def root(position: int) -> int:
        while parents[position] != position:
            parents[position] = parents[parents[position]]
            position = parents[position]
        return position

    def join(left: int, right: int) -> None:
        first, second = sorted((root(left), root(right)))
        parents[second] = first

    distinct: dict[tuple[str, ...], int] = {}
    for position, text in enumerate(texts):
        sequence = tokens(text)
        # Punctuation alone has no tokens: such texts are duplicates only when they are equal.
        first = distinct.setdefault(sequence or ("", text), position)
        if first != position:
            join(first, position)

    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    known: dict[int, frozenset[tuple[str, ...]]] = {
        position: shingles(sequence) for sequence, position in distinct.items()
    }
    sketches = MinHash.generator(
        ([" ".join(shingle).encode() for shingle in found] for found in known.values()),
        num_perm=BANDS * ROWS,
        seed=SEED,
        hashfunc=zlib.crc32,
    )
    for (position, mine), sketch in zip(known.items(), sketches, strict=True):
        for other in sorted(index.query(sketch)):
            if root(other) == root(position):
                continue
            theirs = known[other]
            # A set cannot be more similar than the sizes allow.
            if min(len(mine), len(theirs)) < threshold * max(len(mine), len(theirs)):
                continue
            if jaccard(mine, theirs) >= threshold:
                join(other, position)
        index.insert(position, sketch, check_duplication=False)

    sizes: dict[int, int] = {}
    for position in range(len(texts)):
        sizes[root(position)] = sizes.get(root(position), 0) + 1
    return [root(position) if sizes[root(position)] > 1 else None for position in range(len(texts))]


def with_groups(passages: Sequence[Passage]) -> list[Passage]:
    """The passages with ``group`` set: the id of the first passage of the near-duplicate group, else None."""
    groups = near_duplicate_groups([passage.text for passage in passages])
    return [
        replace(passage, group=None if first is None else passages[first].id)
        for passage, first in zip(passages, groups, strict=True)
    ]
