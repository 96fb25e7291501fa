"""One passage: what its template shows and what its JSON twin holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.http.formats import passage_address, web_link
from app.methods_text import MethodText, method_order, method_text
from app.passages.parameters import PassageParameters
from app.prompts.highlight import prompt_pieces
from app.tasks_text import task_text
from backend.catalogue import passages as catalogue
from backend.catalogue.models import Passage
from backend.catalogue.passages import FoundPassage, InfluencedPrompt
from backend.catalogue.runs import current_runs

MEMBERS = 20
"""Near-duplicates that a page lists."""


@dataclass(frozen=True, slots=True)
class Influence:
    """A prompt that the passage stands behind, or against."""

    row: InfluencedPrompt
    task_title: str
    pieces: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Side:
    """The prompts of one method that hold the passage as a proponent, or as an opponent."""

    opponents: bool
    rows: list[Influence]
    total: int


@dataclass(frozen=True, slots=True)
class MethodInfluences:
    """What the passage does according to one method."""

    text: MethodText
    sides: list[Side]


@dataclass(frozen=True, slots=True)
class PassagePage:
    """Everything that the page of a passage shows."""

    found: FoundPassage
    passage: Passage
    link: str | None
    previous: str | None
    next: str | None
    corpus: str | None
    """For links within the corpus: None where its ids are unambiguous."""
    members: list[Passage]
    others: int
    methods: list[MethodInfluences]
    limit: int
    capped: bool
    more: str
    twin: str


def find(session: Session, passage_id: str, asked: PassageParameters) -> FoundPassage | None:
    """The passage that an address names."""
    return catalogue.find_passage(session, passage_id, asked.corpus)


def build_page(session: Session, found: FoundPassage, asked: PassageParameters) -> PassagePage:
    """The page of a passage."""
    passage = found.passage
    previous, following = catalogue.adjacent(session, passage)
    members, others = catalogue.group_members(session, passage, MEMBERS)
    methods = _methods(session, passage, asked.limit)
    corpus = asked.corpus
    return PassagePage(
        found=found,
        passage=passage,
        link=web_link(passage.url),
        previous=previous,
        next=following,
        corpus=corpus,
        members=members,
        others=others,
        methods=methods,
        limit=asked.limit,
        capped=any(side.total > len(side.rows) for method in methods for side in method.sides),
        more=f"{passage_address(passage.passage_id)}?{_more(corpus)}",
        twin=passage_address(passage.passage_id, corpus, ".json"),
    )


def _more(corpus: str | None) -> str:
    return f"corpus={corpus}&limit=500" if corpus else "limit=500"


def _methods(session: Session, passage: Passage, limit: int) -> list[MethodInfluences]:
    run_ids = [run.id for run in current_runs(session) if run.corpus_id == passage.corpus_id]
    counts = catalogue.influence_counts(session, passage.pk, run_ids)
    rows: dict[tuple[str, bool], list[Influence]] = {}
    for row in catalogue.influenced_prompts(session, passage.pk, run_ids, limit):
        pieces = prompt_pieces(row.prompt, row.completion)
        rows.setdefault((row.method, row.rank < 0), []).append(Influence(row, task_text(row.task).title, pieces))
    return [
        MethodInfluences(
            method_text(method),
            [
                Side(opponents, rows[method, opponents], counts[method, opponents])
                for opponents in (False, True)
                if (method, opponents) in rows
            ],
        )
        for method in sorted({method for method, _ in rows}, key=method_order)
    ]


def passage_json(session: Session, found: FoundPassage, asked: PassageParameters) -> dict[str, Any]:
    """A passage and the prompts that it stands behind."""
    page = build_page(session, found, asked)
    passage = page.passage
    return {
        "id": passage.passage_id,
        "corpus": found.corpus_id,
        "position": passage.position,
        "text": passage.text,
        "source": passage.source,
        "title": passage.title,
        "url": passage.url,
        "license": passage.license,
        "content_hash": passage.content_hash,
        "near_duplicates": None
        if passage.near_duplicates is None
        else {
            "group": passage.near_duplicates,
            "size": page.others + 1,
            "others": [member.passage_id for member in page.members],
        },
        "previous": page.previous,
        "next": page.next,
        "influences": [
            {
                "method": method.text.slug,
                "side": "opponents" if side.opponents else "proponents",
                "total": side.total,
                "prompts": [
                    {
                        "slug": influence.row.slug,
                        "run": influence.row.run_id,
                        "rank": abs(influence.row.rank),
                        "score": influence.row.score,
                        "percentile": influence.row.percentile,
                        "prompt": influence.row.prompt,
                        "completion": influence.row.completion,
                        "task": influence.row.task,
                    }
                    for influence in side.rows
                ],
            }
            for method in page.methods
            for side in method.sides
        ],
    }
