"""One passage: what its template shows and what its JSON twin holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.http.formats import address, passage_address, web_link
from app.methods_text import MethodText, method_order, method_text
from app.passages.parameters import PassageParameters
from app.prompts.highlight import prompt_pieces
from app.tasks_text import task_order, task_text
from backend.catalogue import passages as catalogue
from backend.catalogue.models import Passage
from backend.catalogue.passages import FoundPassage, InfluencedPrompt
from backend.catalogue.runs import RunSummary, current_runs
from backend.catalogue.withheld import is_hidden

MOST_ROWS = 200
"""Prompts that the page lists, of all methods and sides together: it stays below 100 kB."""

LONGEST_TEXT = 20_000
"""Characters of a passage's text on its page."""

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
class Share:
    """Of how many of a task's prompts the passage is a stored proponent."""

    task: str
    task_title: str
    influenced: int
    prompts: int


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
    shares: list[Share]
    shares_by: str | None
    """Title of the method that the shares are by."""
    most: int
    """Prompts of a method and side that the page can show."""
    more: str | None
    """Address of the page with so many; None where it shows all that it can."""
    text: str
    cut: bool
    exports: list[tuple[str, str]]
    twin: str


def find(session: Session, passage_id: str, asked: PassageParameters) -> FoundPassage | None:
    """The passage that an address names."""
    return catalogue.find_passage(session, passage_id, asked.corpus)


def build_page(session: Session, found: FoundPassage, asked: PassageParameters, *, whole: bool = False) -> PassagePage:
    """The page of a passage; ``whole``: as many prompts as were asked for, more than a page of HTML shows."""
    passage = found.passage
    previous, following = catalogue.adjacent(session, passage)
    members, others = catalogue.group_members(session, passage, MEMBERS)
    runs = [run for run in current_runs(session) if run.corpus_id == passage.corpus_id]
    most = max(1, min(500, MOST_ROWS // max(1, 2 * len({run.method for run in runs}))))
    limit = asked.limit if whole else min(asked.limit, most)
    methods = _methods(session, passage, [run.id for run in runs], limit)
    more = limit < most and any(side.total > len(side.rows) for method in methods for side in method.sides)
    shares_by, shares = _shares(session, passage, runs)
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
        shares=shares,
        shares_by=shares_by,
        most=most,
        more=address(passage_address(passage.passage_id), {"corpus": corpus, "limit": most}) if more else None,
        text=passage.text[:LONGEST_TEXT],
        cut=len(passage.text) > LONGEST_TEXT,
        exports=[(kind, passage_address(passage.passage_id, corpus, f".{kind.lower()}")) for kind in ("CSV", "JSONL")],
        twin=passage_address(passage.passage_id, corpus, ".json"),
    )


def _shares(session: Session, passage: Passage, runs: list[RunSummary]) -> tuple[str | None, list[Share]]:
    """Shares by the first method, in the order of pages, that looks at the model."""
    informed = [run for run in runs if method_text(run.method).looks_at_model]
    if not informed:
        return None, []
    method = min(informed, key=lambda run: method_order(run.method)).method
    found = catalogue.task_shares(session, passage.pk, [run.id for run in informed if run.method == method])
    return method_text(method).title, [
        Share(share.task, task_text(share.task).title, share.influenced, share.prompts)
        for share in sorted(found, key=lambda share: task_order(share.task))
    ]


def _methods(session: Session, passage: Passage, run_ids: list[str], limit: int) -> list[MethodInfluences]:
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
    page = build_page(session, found, asked, whole=True)
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
        "content_hash": None if is_hidden(passage) else passage.content_hash,
        "near_duplicates": None
        if passage.near_duplicates is None
        else {
            "group": passage.near_duplicates,
            "size": page.others + 1,
            "others": [member.passage_id for member in page.members],
        },
        "previous": page.previous,
        "next": page.next,
        "shares": [
            {"task": share.task, "influenced": share.influenced, "prompts": share.prompts} for share in page.shares
        ],
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
                        "tail_patch": influence.row.tail_patch,
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


EXPORT_COLUMNS = (
    *("passage_id", "method", "run", "side", "rank", "score", "percentile", "tail_patch"),
    *("slug", "task", "prompt", "completion"),
)


def export_rows(session: Session, found: FoundPassage) -> list[dict[str, Any]]:
    """Every prompt that has the passage in a stored list of a current run, a row each."""
    passage = found.passage
    runs = [run.id for run in current_runs(session) if run.corpus_id == passage.corpus_id]
    return [
        {
            "passage_id": passage.passage_id,
            "method": row.method,
            "run": row.run_id,
            "side": "opponents" if row.rank < 0 else "proponents",
            "rank": abs(row.rank),
            "score": row.score,
            "percentile": row.percentile,
            "tail_patch": row.tail_patch,
            "slug": row.slug,
            "task": row.task,
            "prompt": row.prompt,
            "completion": row.completion,
        }
        for row in catalogue.influenced_prompts(session, passage.pk, runs, limit=None)
    ]
