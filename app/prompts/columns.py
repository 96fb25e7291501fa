"""The page of one prompt: columns of passage cards, what can be changed about it, and where it leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.charts import Histogram, histogram
from app.http.formats import prompt_address
from app.methods_text import MethodText, method_order, method_text
from app.prompts.highlight import Excerpt, excerpt, names_of, prompt_pieces
from app.prompts.parameters import DEFAULT_METHODS, PinnedParameters, PromptParameters
from app.prompts.rankings import Rankings, run_order
from app.prompts.views import first_rank
from app.tasks_text import TaskText, task_text
from backend.catalogue import prompts as catalogue
from backend.catalogue.models import Output, Passage, Prompt
from backend.catalogue.passages import newest_corpus_id
from backend.catalogue.prompts import RankedRow
from backend.catalogue.runs import RunSummary


@dataclass(frozen=True, slots=True)
class Place:
    """A passage's place in another method's stored list."""

    title: str
    rank: int


@dataclass(frozen=True, slots=True)
class Card:
    """A passage in a column."""

    rank: int
    """Negative for opponents."""
    score: float
    percentile: float
    tail_patch: float | None
    passage_id: str
    source: str
    title: str | None
    excerpt: Excerpt
    entails: bool | None
    copies: int
    """Passages in its near-duplicate group, itself included; 0 without one."""
    places: list[Place]
    absent: list[str]
    """Titles of shown or usual methods that have it in neither of their lists."""


@dataclass(frozen=True, slots=True)
class Column:
    """A method's answer."""

    run: RunSummary
    text: MethodText
    scored: int
    cards: list[Card]
    stored: int
    stating: int | None
    """How many of the cards state the fact; None where that has no meaning."""
    first_stating: int | None
    has_metrics: bool
    chart: Histogram
    facts: list[tuple[str, str]]
    without: str | None
    """Address of the same page without this column."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A method that could be shown beside the others."""

    text: MethodText
    url: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A link that changes one thing about the page."""

    label: str
    url: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class PromptPage:
    """Everything that the page of a prompt shows."""

    prompt: Prompt
    task: TaskText
    pieces: tuple[str, str, str]
    output: Output | None
    right: bool | None
    columns: list[Column]
    offers: list[Offer]
    side: str
    sides: list[Choice]
    sizes: list[Choice]
    pinned: bool
    permalink: str | None
    twin: str
    previous: str | None
    next: str | None
    corpus_id: str | None
    """For links to passages: None where their ids are unambiguous."""
    marks: list[str]
    """Kinds of highlights that occur on the page."""


def build_page(
    session: Session, loaded: Rankings, shown: Sequence[RunSummary], asked: PinnedParameters, pinned: bool
) -> PromptPage:
    """The page of a prompt with a column for each shown run."""
    links = _Links(loaded, tuple(shown), asked, pinned)
    rows = {run.id: loaded.side(run, asked.side, asked.k) for run in shown}
    pks = {row.passage_pk for some in rows.values() for row in some}
    passages = catalogue.passages_by_pk(session, pks)
    groups = {passage.near_duplicates for passage in passages.values()} - {None}
    copies = catalogue.group_sizes(session, loaded.corpus_id, [group for group in groups if group])
    cards = _Cards(loaded, shown, passages, copies)
    previous, following = catalogue.neighbours(session, loaded.prompt.pk)
    columns = [_column(loaded, run, rows[run.id], cards, asked, links) for run in shown]
    newest = newest_corpus_id(session)
    kinds = {piece.kind for column in columns for card in column.cards for piece in card.excerpt.segments}
    return PromptPage(
        prompt=loaded.prompt,
        task=task_text(loaded.prompt.task),
        pieces=prompt_pieces(loaded.prompt.prompt, loaded.prompt.completion),
        output=loaded.output,
        right=None if loaded.output is None else loaded.output.correct,
        columns=columns,
        offers=[] if pinned else links.offers(),
        side=asked.side,
        sides=[
            Choice(label, links.to(side=side), asked.side == side)
            for side, label in (("proponents", "Proponents"), ("opponents", "Opponents"))
        ],
        sizes=[Choice(str(k), links.to(k=k), asked.k == k) for k in (10, 25, 50, 100)],
        pinned=pinned,
        permalink=prompt_address(loaded.prompt.slug, tuple(run.id for run in shown)) if shown else None,
        twin=links.to(suffix=".json"),
        previous=previous,
        next=following,
        corpus_id=None if loaded.corpus_id == newest else loaded.corpus_id,
        marks=[kind for kind in ("subject", "object", "completion") if kind in kinds],
    )


class _Links:
    """Addresses of the same page with one thing changed."""

    def __init__(self, loaded: Rankings, shown: tuple[RunSummary, ...], asked: PinnedParameters, pinned: bool) -> None:
        self.loaded = loaded
        self.shown = shown
        self.asked = asked
        self.pinned = pinned
        self.chosen = asked.methods is not None if isinstance(asked, PromptParameters) else False

    def to(
        self,
        side: str | None = None,
        k: int | None = None,
        methods: Sequence[str] | None = None,
        suffix: str = "",
    ) -> str:
        side, k = side or self.asked.side, k or self.asked.k
        if methods is None and (self.chosen or suffix):
            methods = [run.method for run in self.shown]
        keeps_side = side != "proponents" and not suffix
        return prompt_address(
            self.loaded.prompt.slug,
            tuple(run.id for run in self.shown) if self.pinned else (),
            suffix,
            side=side if keeps_side else None,
            k=None if k == 10 else k,
            methods=",".join(methods) if methods and not self.pinned else None,
        )

    def without(self, run: RunSummary) -> str | None:
        rest = [other.method for other in self.shown if other is not run]
        return self.to(methods=rest) if rest and not self.pinned else None

    def offers(self) -> list[Offer]:
        shown = [run.method for run in self.shown]
        others = sorted({run.method for run in self.loaded.runs} - set(shown), key=method_order)
        return [Offer(method_text(method), self.to(methods=[*shown, method])) for method in others]


class _Cards:
    """Makes the card of a ranked passage."""

    def __init__(
        self,
        loaded: Rankings,
        shown: Sequence[RunSummary],
        passages: dict[int, Passage],
        copies: dict[str, int],
    ) -> None:
        self.loaded = loaded
        self.passages = passages
        self.copies = copies
        self.names = names_of(loaded.prompt)
        self.compared = {run.method for run in shown} | set(DEFAULT_METHODS)
        self.excerpts: dict[int, Excerpt] = {}
        runs = sorted(loaded.runs, key=run_order)
        self.ranks = [(run, {row.passage_pk: row.rank for row in reversed(loaded.lists[run.id])}) for run in runs]

    def card(self, run: RunSummary, row: RankedRow) -> Card:
        passage = self.passages[row.passage_pk]
        if passage.pk not in self.excerpts:
            self.excerpts[passage.pk] = excerpt(passage.text, self.names)
        others = [(other.method, ranks.get(passage.pk)) for other, ranks in self.ranks if other is not run]
        return Card(
            rank=row.rank,
            score=row.score,
            percentile=row.percentile,
            tail_patch=row.tail_patch,
            passage_id=passage.passage_id,
            source=passage.source,
            title=passage.title,
            excerpt=self.excerpts[passage.pk],
            entails=self.loaded.entails(passage.pk),
            copies=self.copies.get(passage.near_duplicates or "", 0),
            places=[Place(method_text(method).title, rank) for method, rank in others if rank is not None],
            absent=[method_text(method).title for method, rank in others if rank is None and method in self.compared],
        )


def _column(
    loaded: Rankings,
    run: RunSummary,
    rows: list[RankedRow],
    cards: _Cards,
    asked: PinnedParameters,
    links: _Links,
) -> Column:
    ranking = loaded.rankings[run.id]
    made = [cards.card(run, row) for row in rows]
    return Column(
        run=run,
        text=method_text(run.method),
        scored=ranking.scored,
        cards=made,
        stored=sum((row.rank > 0) == (asked.side == "proponents") for row in loaded.lists[run.id]),
        stating=None if loaded.prompt.frequency is None else sum(card.entails is True for card in made),
        first_stating=first_rank(ranking.reciprocal_rank or 0.0),
        has_metrics=ranking.reciprocal_rank is not None,
        chart=histogram(ranking.histogram, ranking.minimum, ranking.maximum, mark=rows[-1].score if rows else None),
        facts=_facts(ranking.facts),
        without=links.without(run),
    )


FACT_LABELS = {
    "lambda": "λ, the weight of R_eval",
    "k": "k, the spectral component at which λ is chosen",
    "n": "prompts behind R_eval",
    "query_set": "query set behind R_eval",
    "damping_factor": "damping, as a share of the mean eigenvalue",
    "note": "note",
}


def _facts(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """What a method recorded for the query, flattened, in the order of the labels above."""
    flat: list[tuple[str, str]] = []
    places = {name: place for place, name in enumerate(FACT_LABELS)}
    for name, value in sorted((facts or {}).items(), key=lambda item: (places.get(item[0], 99), item[0])):
        label = prefix + FACT_LABELS.get(name, name.replace("_", " "))
        if isinstance(value, dict):
            flat += _facts(value, f"{name.replace('_', ' ')}: ")
        elif value is not None and not isinstance(value, list):
            flat.append((label, f"{value:.4g}" if isinstance(value, float) else str(value)))
    return flat
