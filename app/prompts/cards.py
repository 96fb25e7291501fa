"""Cards of ranked passages: near-copies folded, places in other lists, what to mark, where to jump."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from app.methods_text import method_text
from app.prompts.highlight import Excerpt, Wording, excerpt, names_of
from app.prompts.parameters import DEFAULT_METHODS
from app.prompts.rankings import Rankings, run_order
from backend.catalogue.models import Passage
from backend.catalogue.prompts import RankedRow
from backend.catalogue.runs import RunSummary
from backend.core.text import join_query


class Place(NamedTuple):
    """A passage's place in another method's stored list."""

    title: str
    rank: int


class Copy(NamedTuple):
    """A near-copy that stands further down in the same list."""

    rank: int
    score: float
    passage_id: str
    entails: bool | None


@dataclass(frozen=True, slots=True)
class Folded:
    """Rows of a list that one card shows: the first of a near-duplicate group, and its copies."""

    row: RankedRow
    copies: list[RankedRow]


@dataclass(frozen=True, slots=True)
class Card:
    """A passage in a column."""

    rank: int
    """Negative for opponents."""
    score: float
    percentile: float | None
    tail_patch: float | None
    passage_id: str
    source: str
    license: str | None
    title: str | None
    excerpt: Excerpt
    withheld: bool
    """Its source is private."""
    entails: bool | None
    copies: int
    """Passages in its near-duplicate group, itself included; 0 without one."""
    folded: list[Copy]
    group_sum: float | None
    """Sum of the scores of its group's passages in this list; None where it stands alone."""
    places: list[Place]
    absent: list[tuple[int, str]]
    """(length of the list, titles) of shown or usual methods that have it in neither of their lists."""


def fold(rows: Sequence[RankedRow], groups: dict[int, str | None], *, copies: str) -> list[Folded]:
    """A list as cards: each near-duplicate group under its first row, or every row by itself."""
    found: list[Folded] = []
    of_group: dict[str, Folded] = {}
    for row in rows:
        group = groups.get(row.passage_pk) if copies == "folded" else None
        if group is not None and group in of_group:
            of_group[group].copies.append(row)
            continue
        card = Folded(row, [])
        found.append(card)
        if group is not None:
            of_group[group] = card
    return found


class CardMaker:
    """Makes cards for one prompt's page."""

    def __init__(
        self,
        loaded: Rankings,
        shown: Sequence[RunSummary],
        passages: dict[int, Passage],
        ids: dict[int, str],
        sizes: dict[str, int],
    ) -> None:
        self._loaded = loaded
        self._passages = passages
        self._ids = ids
        self._sizes = sizes
        self._names = names_of(loaded.prompt)
        self._wording = Wording.of(join_query(loaded.prompt.prompt, loaded.prompt.completion)[0])
        self._compared = {run.method for run in shown} | set(DEFAULT_METHODS)
        self._excerpts: dict[int, Excerpt] = {}
        wanted = set(passages)
        self._ranks = [
            (
                run,
                method_text(run.method).title,
                {row.passage_pk: row.rank for row in loaded.lists[run.id] if row.passage_pk in wanted},
                sum(row.rank > 0 for row in loaded.lists[run.id]),
            )
            for run in sorted(loaded.runs, key=run_order)
        ]

    @property
    def n(self) -> int:
        """Words in a row that count as shared wording."""
        return self._wording.n

    def card(self, run: RunSummary, folded: Folded) -> Card:
        """The card of a row and the copies under it."""
        row = folded.row
        passage = self._passages[row.passage_pk]
        shown = self._excerpts.get(passage.pk)
        if shown is None:
            shown = self._excerpts[passage.pk] = excerpt(passage.text, self._names, self._wording)
        places: list[Place] = []
        absent: dict[int, list[str]] = {}
        for other, title, ranks, length in self._ranks:
            if other is run:
                continue
            rank = ranks.get(passage.pk)
            if rank is not None:
                places.append(Place(title, rank))
            elif other.method in self._compared:
                absent.setdefault(length, []).append(title)
        group_sum = sum((copy.score for copy in folded.copies), row.score)
        return Card(
            rank=row.rank,
            score=row.score,
            percentile=row.percentile,
            tail_patch=row.tail_patch,
            passage_id=passage.passage_id,
            source=passage.source,
            license=passage.license,
            title=passage.title,
            excerpt=shown,
            withheld=passage.withheld,
            entails=self._loaded.entails(passage.pk),
            copies=self._sizes.get(passage.near_duplicates or "", 0),
            folded=[
                Copy(copy.rank, copy.score, self._ids[copy.passage_pk], self._loaded.entails(copy.passage_pk))
                for copy in folded.copies
            ],
            group_sum=group_sum if folded.copies and math.isfinite(group_sum) else None,
            places=places,
            absent=[(length, ", ".join(titles)) for length, titles in absent.items()],
        )
