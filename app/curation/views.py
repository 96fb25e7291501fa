"""Lists of flags: what their template shows and what their twins and files hold.

Everybody sees what is flagged and why in one word; who set it and their note are for those who judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from app.curation.parameters import LIMIT, FlagListed, FlagParameters
from app.http.formats import address
from app.http.viewers import Viewer
from backend.accounts.roles import Role
from backend.catalogue.passages import newest_corpus_id
from backend.curation.flags import MOST_AT_ONCE, FlagRow, Reason, count_by_reason, every, listed

REASONS: dict[Reason, tuple[str, str]] = {
    Reason.TOXIC: ("toxic", "it insults, threatens or demeans"),
    Reason.WRONG: ("wrong", "what it says is not so"),
    Reason.PRIVATE: ("private", "it tells of a person what is nobody's business"),
    Reason.LICENCE: ("licence", "it may not be used for this"),
}
COLUMNS = (
    *("id", "passage_id", "corpus", "source", "reason", "created_at", "cleared_at"),
    *("content_hash", "note", "by", "cleared_by"),
)


@dataclass(frozen=True, slots=True)
class FlagsPage:
    """A page of flags."""

    asked: FlagParameters
    rows: list[FlagRow]
    counts: list[tuple[str, str, int]]
    """(reason, its title, flags)."""
    next: str | None
    exports: list[tuple[str, str]]
    ids: str
    rest: str
    """Addresses of the flagged ids and of the corpus without them."""
    sees_people: bool
    typed: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    most: int = MOST_AT_ONCE


def build_list(
    session: Session, asked: FlagParameters, viewer: Viewer, *, typed: dict[str, str] | None = None, fault: str = ""
) -> FlagsPage:
    """The page for a viewer."""
    rows, more = listed(session, asked.wanted, asked.limit, asked.after)
    given = _given(asked)
    counts = count_by_reason(session, asked.wanted)
    of_corpus = {name: value for name, value in given.items() if name in ("reason", "corpus")}
    return FlagsPage(
        asked=asked,
        rows=rows,
        counts=[(reason.value, title, counts.get(reason.value, 0)) for reason, (title, _) in REASONS.items()],
        next=_next(asked, "/flags", rows) if more else None,
        exports=[(kind, address(f"/flags.{kind.lower()}", given)) for kind in ("JSON", "CSV", "JSONL")],
        ids=address("/flags/ids.txt", of_corpus),
        rest=address("/flags/corpus.jsonl", of_corpus),
        sees_people=viewer.may(Role.ANNOTATOR),
        typed=typed or {},
        fault=fault,
    )


def _given(asked: FlagListed) -> dict[str, Any]:
    given = asked.model_dump(include={"reason", "corpus"}, exclude_none=True)
    return given if asked.state == "standing" else {**given, "state": asked.state}


def _next(asked: FlagParameters, path: str, rows: list[FlagRow]) -> str:
    limit = None if asked.limit == LIMIT else asked.limit
    return address(path, {**_given(asked), "after": rows[-1].flag.id, "limit": limit})


def list_json(session: Session, asked: FlagParameters, viewer: Viewer) -> dict[str, Any]:
    """The JSON twin."""
    rows, more = listed(session, asked.wanted, asked.limit, asked.after)
    people = viewer.may(Role.ANNOTATOR)
    return {
        "items": [row_json(row, people=people) for row in rows],
        "next": _next(asked, "/flags.json", rows) if more else None,
        "total": sum(count_by_reason(session, asked.wanted).values()),
    }


def export_rows(session: Session, asked: FlagListed, viewer: Viewer) -> Iterator[dict[str, Any]]:
    """Every flag of the list."""
    people = viewer.may(Role.ANNOTATOR)
    return (row_json(row, people=people) for row in every(session, asked.wanted))


def row_json(row: FlagRow, *, people: bool) -> dict[str, Any]:
    """A flag; ``people``: with who said what."""
    flag = row.flag
    found = {
        "id": flag.id,
        "passage_id": flag.passage_id,
        "corpus": flag.corpus_id,
        "source": row.source,
        "reason": flag.reason,
        "created_at": flag.created_at.isoformat(),
        "cleared_at": flag.cleared_at.isoformat() if flag.cleared_at else None,
    }
    people_only = {"content_hash": flag.content_hash, "note": flag.note, "by": row.by, "cleared_by": row.cleared_by}
    return {**found, **people_only} if people else found


def corpus_of(session: Session, given: str | None) -> str | None:
    """The corpus that is meant: the given one, or the newest."""
    return given or newest_corpus_id(session)
