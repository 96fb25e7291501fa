"""The page of one prompt: columns of passage cards, what can be changed about it, and where it leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from app.ask.parameters import ask_address
from app.charts import Histogram, histogram
from app.methods_text import MethodText, method_text
from app.prompts.cards import Card, CardMaker, Folded, fold
from app.prompts.highlight import prompt_pieces
from app.prompts.links import Choice, Offer, PageLinks
from app.prompts.measuring import Measuring, measurings
from app.prompts.parameters import PinnedParameters, PromptParameters
from app.prompts.rankings import Rankings
from app.prompts.views import first_rank, list_neighbours
from app.tasks_text import TaskText, task_text
from backend.catalogue import prompts as catalogue
from backend.catalogue.models import Output, Prompt
from backend.catalogue.passages import newest_corpus_id
from backend.catalogue.prompt_lists import PromptFilter, PromptOrder, neighbours
from backend.catalogue.runs import RunSummary, current_runs
from backend.core.agreement import overlap_at, shared_rank_correlation

CARDS_A_PAGE = 50
"""Cards of all columns together that a page shows at most: a page stays below 100 kB."""

FEWEST_CARDS = 3
"""Cards of a column, however many columns there are."""

LATER_JUMPS = 8


class Jump(NamedTuple):
    """A place in a list to jump to."""

    rank: int
    url: str
    entails: bool


@dataclass(frozen=True, slots=True)
class Column:
    """A method's answer."""

    run: RunSummary
    text: MethodText
    name: str
    """The method's title, with the run's id where a method is pinned twice."""
    anchor: str
    """What ids in the column begin with."""
    scored: int | None
    cards: list[Card]
    stored: int
    stating: int | None
    """How many passages of the cards state the fact; None where that has no meaning."""
    first_stating: int | None
    has_metrics: bool
    chart: Histogram | None
    """None for an imported list, whose scores over the corpus are not known."""
    facts: list[tuple[str, str]]
    candidates: int | None
    """How many passages an index proposed, where only those were scored."""
    jumps: list[Jump]
    """The cards of this page."""
    later: list[Jump]
    """The next passages that state the fact, on later pages."""
    newer: str | None
    """Address of the page with the newer run of the same method, on a permalink."""
    without: str | None
    """Address of the same page without this column."""
    measuring: Measuring | None
    """Tail-patch of the list; None where it is not measured on demand."""


class Agreement(NamedTuple):
    """How far two of the shown lists agree."""

    left: str
    right: str
    overlap_at_10: float | None
    overlap: float | None
    correlation: float | None
    shared: int | None


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
    agreements: list[Agreement]
    depth: int
    """Passages of the longest shown list: how deep the second overlap looks."""
    side: str
    sides: list[Choice]
    sizes: list[Choice]
    folds: list[Choice]
    can_fold: bool
    start: int
    end: int
    longest: int
    """Cards of the longest column."""
    earlier: str | None
    further: str | None
    pinned: bool
    permalink: str | None
    current: str
    """The same view of the current runs."""
    twin: str
    exports: list[tuple[str, str]]
    back: str
    """The list that the prompt was opened from."""
    in_list: bool
    variation: str | None
    """The form for a question of one's own, filled in with this one; None where nobody may ask."""
    previous: str | None
    next: str | None
    corpus_id: str | None
    """For links to passages: None where their ids are unambiguous."""
    marks: list[str]
    """Kinds of highlights that occur on the page."""
    ngram: int
    shares_wording: bool
    lead: str
    """The beginning of the first passage of the first column, for link previews."""


def build_page(
    session: Session,
    loaded: Rankings,
    shown: Sequence[RunSummary],
    asked: PinnedParameters,
    *,
    pinned: bool,
    may_ask: bool,
) -> PromptPage:
    """The page of a prompt with a column for each shown run; ``may_ask``: it leads on to questions."""
    links = PageLinks(loaded, tuple(shown), asked, pinned)
    lists = {run.id: loaded.side(run, asked.side) for run in shown}
    identities = catalogue.passage_identities(session, {row.passage_pk for rows in lists.values() for row in rows})
    ids = {pk: passage_id for pk, (passage_id, _) in identities.items()}
    groups = {pk: group for pk, (_, group) in identities.items()}
    folded = {run_id: fold(rows, groups, copies=asked.copies) for run_id, rows in lists.items()}
    most = max(FEWEST_CARDS, CARDS_A_PAGE // max(len(shown), 1))
    size = min(asked.k, most)
    longest = max((len(cards) for cards in folded.values()), default=0)
    start = asked.start if asked.start <= longest else 1  # beyond every list: from the first card again
    first = start - 1
    on_page = {run_id: cards[first : first + size] for run_id, cards in folded.items()}

    passages = catalogue.passages_by_pk(session, {card.row.passage_pk for cards in on_page.values() for card in cards})
    named = {passage.near_duplicates for passage in passages.values()} - {None}
    sizes = catalogue.group_sizes(session, loaded.corpus_id, [group for group in named if group])
    maker = CardMaker(loaded, shown, passages, ids, sizes)
    newest = newest_corpus_id(session)
    corpus_id = None if loaded.corpus_id == newest else loaded.corpus_id
    newer = _newer_runs(session, loaded, shown) if pinned else {}
    measuring = measurings(session, loaded, shown, corpus_id, may_ask=may_ask)
    columns = [
        _column(
            loaded,
            run,
            on_page[run.id],
            folded[run.id][first + size :],
            maker,
            asked,
            links,
            newer.get(run.id),
            measuring.get(run.id),
        )
        for run in shown
    ]
    previous, following, in_list = _neighbours(session, loaded, asked, links)
    cards = [card for column in columns for card in column.cards]
    kinds = {piece.kind for card in cards for piece in card.excerpt.segments}
    return PromptPage(
        prompt=loaded.prompt,
        task=task_text(loaded.prompt.task),
        pieces=prompt_pieces(loaded.prompt.prompt, loaded.prompt.completion),
        output=loaded.output,
        right=None if loaded.output is None else loaded.output.correct,
        columns=columns,
        offers=[] if pinned else links.offers(),
        agreements=_agreements(columns, lists),
        depth=max((len(rows) for rows in lists.values()), default=0),
        side=asked.side,
        sides=links.sides(),
        sizes=links.sizes(most),
        folds=links.folds(),
        can_fold=any(group is not None for group in groups.values()),
        start=start,
        end=min(first + size, longest),
        longest=longest,
        earlier=links.to(start=max(1, start - size)) if start > 1 else None,
        further=links.to(start=start + size) if longest > first + size else None,
        pinned=pinned,
        permalink=links.permalink() if shown else None,
        current=links.current(),
        twin=links.twin(".json"),
        exports=[(kind, links.twin(f".{kind.lower()}")) for kind in ("JSON", "CSV", "JSONL")],
        back=links.back(),
        in_list=in_list,
        variation=_variation(loaded) if may_ask else None,
        previous=previous,
        next=following,
        corpus_id=corpus_id,
        marks=[kind for kind in ("subject", "object", "completion") if kind in kinds],
        ngram=maker.n,
        shares_wording=any(card.excerpt.shared_words for card in cards),
        lead="".join(piece.text for piece in cards[0].excerpt.segments)[:200] if cards else "",
    )


def _neighbours(
    session: Session, loaded: Rankings, asked: PinnedParameters, links: PageLinks
) -> tuple[str | None, str | None, bool]:
    """Addresses of the prompts before and behind in the same list, and whether that is a filtered one."""
    slug = loaded.prompt.slug
    if loaded.prompt.asked:  # it stands in no list, least of all between other people's questions
        return None, None, True
    if isinstance(asked, PromptParameters) and asked.list_address:
        found = list_neighbours(session, slug, asked)
        if found is not None:
            return links.of(found[0]), links.of(found[1]), True
    wanted = PromptFilter(query_set=loaded.prompt.query_set_id) if links.pinned else PromptFilter()
    before, behind = neighbours(session, slug, wanted, PromptOrder()) or (None, None)
    return links.of(before, listed=False), links.of(behind, listed=False), False


def _newer_runs(session: Session, loaded: Rankings, shown: Sequence[RunSummary]) -> dict[str, RunSummary]:
    """Run id -> the current run of its method, for the shown runs that a newer one has followed."""
    current = {run.method: run for run in current_runs(session, loaded.query_set_id)}
    found = {run.id: current[run.method] for run in shown if current[run.method].id != run.id}
    if found and loaded.prompt.asked:  # a newer run knows only the questions that it was asked
        rows = catalogue.rankings_of_prompt(session, loaded.prompt.pk, [run.id for run in found.values()])
        ranking = {row.run_id for row in rows}
        found = {run_id: run for run_id, run in found.items() if run.id in ranking}
    return found


def _variation(loaded: Rankings) -> str:
    prompt = loaded.prompt
    return ask_address(prompt.prompt, prompt.completion, prompt.task, loaded.query_set_id)


def _agreements(columns: Sequence[Column], lists: dict[str, Any]) -> list[Agreement]:
    found = []
    for left, right in combinations(columns, 2):
        one, other = ([row.passage_pk for row in lists[column.run.id]] for column in (left, right))
        depth = max(len(one), len(other))
        rho = shared_rank_correlation(one, other)
        found.append(
            Agreement(
                left.name,
                right.name,
                overlap_at(one, other, 10),
                overlap_at(one, other, depth),
                rho[0] if rho else None,
                rho[1] if rho else len(set(one) & set(other)),
            )
        )
    return found


def _column(
    loaded: Rankings,
    run: RunSummary,
    folded: Sequence[Folded],
    behind: Sequence[Folded],
    maker: CardMaker,
    asked: PinnedParameters,
    links: PageLinks,
    newer: RunSummary | None,
    measuring: Measuring | None,
) -> Column:
    ranking = loaded.rankings[run.id]
    anchor = links.anchor(run)
    cards = [maker.card(run, card) for card in folded]
    stating = [entails for card in cards for entails in (card.entails, *(copy.entails for copy in card.folded))]
    later = [
        Jump(abs(card.row.rank), links.to_card(run, card.row.rank, asked.start + len(cards) + place), entails=True)
        for place, card in enumerate(behind)
        if loaded.entails(card.row.passage_pk)
    ]
    chart = None
    if ranking.histogram and ranking.minimum is not None and ranking.maximum is not None:
        mark = folded[-1].row.score if folded else None
        chart = histogram(ranking.histogram, ranking.minimum, ranking.maximum, mark=mark)
    return Column(
        run=run,
        text=method_text(run.method),
        name=method_text(run.method).title if anchor == run.method else f"{method_text(run.method).title}, {run.id}",
        anchor=anchor,
        scored=ranking.scored,
        cards=cards,
        stored=len(loaded.side(run, asked.side)),
        stating=None if loaded.prompt.frequency is None else sum(entails is True for entails in stating),
        first_stating=first_rank(ranking.reciprocal_rank or 0.0),
        has_metrics=ranking.reciprocal_rank is not None,
        chart=chart,
        facts=_facts(ranking.facts),
        candidates=(ranking.facts or {}).get("search", {}).get("candidates"),
        jumps=[Jump(abs(card.rank), f"#{anchor}-{abs(card.rank)}", card.entails is True) for card in cards],
        later=later[:LATER_JUMPS],
        newer=links.newer(run, newer),
        without=links.without(run),
        measuring=measuring,
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
