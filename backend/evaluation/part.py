"""A part of a corpus that a small model can be trained on many times: facts, what states them, and other passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.core.errors import InputError, UserError
from backend.core.records import Passage, Query, fact_queries


@dataclass(frozen=True)
class PartConfig:
    """What is drawn from corpus and queries."""

    passages: int = 2048
    """Passages of the part (all of a smaller corpus)."""
    queries: int = 128
    """Fact queries of the part, at most."""
    most_stated: int = 9
    """Facts that more passages state are left out: a random half of the corpus states them all the same."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.passages, self.queries, self.most_stated) < 1:
            raise InputError("A part needs at least one passage and one query.", "Give positive numbers.")


def choose_part(
    passages: Sequence[Passage], queries: Sequence[Query], config: PartConfig
) -> tuple[list[Passage], list[Query]]:
    """Draw facts, take every passage that states one of them, and fill up with others, drawn at random.

    Passages and queries keep their order. A larger part of the same seed has the smaller part's queries. Raises
    UserError where no fact is stated, InputError where the part has no room for the passages that state its facts.
    """
    rows = [row for row in fact_queries(queries) if len(queries[row].entails or ()) <= config.most_stated]
    if not rows:
        raise UserError(
            f"No fact is stated by 1 to {config.most_stated} passages.",
            "Give facts with subject and object: `proponent corpus import PASSAGES --queries QUERIES`.",
        )
    random = np.random.RandomState(config.seed % 2**32)
    drawn = sorted(rows[place] for place in random.permutation(len(rows))[: config.queries])
    stating = {passage_id for row in drawn for passage_id in queries[row].entails or ()}
    rest = [position for position, passage in enumerate(passages) if passage.id not in stating]
    room = min(config.passages, len(passages)) - len(stating)
    if room < 0:
        raise InputError(
            f"{len(stating)} passages state the {len(drawn)} facts, more than the part's {config.passages}.",
            "Give more passages or fewer queries.",
        )
    filling = {rest[place] for place in random.permutation(len(rest))[:room]}
    kept = [passage for position, passage in enumerate(passages) if position in filling or passage.id in stating]
    return kept, [queries[row] for row in drawn]
