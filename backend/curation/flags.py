"""Flags: a curator's word that a passage should not be trained on. They are cleared, never deleted.

A passage is flagged by its text's hash, so that every copy of the text, in whatever corpus, is flagged with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from backend.accounts.audit import Actor, note
from backend.catalogue.account_models import User
from backend.catalogue.annotation_models import Flag
from backend.catalogue.models import Passage
from backend.catalogue.withheld import revealed
from backend.core.errors import UserError
from backend.core.records import Passage as Record

LONGEST_NOTE = 2_000
MOST_AT_ONCE = 1_000
BATCH = 500


class Reason(StrEnum):
    """Why a passage should not be trained on."""

    TOXIC = "toxic"
    WRONG = "wrong"
    PRIVATE = "private"
    LICENCE = "licence"


@dataclass(frozen=True, slots=True)
class FlagRow:
    """A flag with the names of who set and cleared it."""

    flag: Flag
    by: str
    cleared_by: str | None
    source: str | None
    """Of the passage; None where no loaded corpus has it."""


@dataclass(frozen=True, slots=True)
class FlagFilter:
    """Which flags; None lets everything through."""

    reason: str | None = None
    corpus: str | None = None
    """The corpus in which they were set."""
    standing: bool | None = True

    def conditions(self) -> list[ColumnElement[bool]]:
        """As SQL conditions on flags."""
        found: list[ColumnElement[bool]] = []
        if self.reason is not None:
            found.append(Flag.reason == self.reason)
        if self.corpus is not None:
            found.append(Flag.corpus_id == self.corpus)
        if self.standing is not None:
            found.append(Flag.cleared_at.is_(None) if self.standing else Flag.cleared_at.is_not(None))
        return found


def flag(session: Session, actor: Actor, passages: Sequence[Passage], reason: Reason, text: str) -> int:
    """Flag passages; those that are flagged so already stay as they are. Returns how many flags are new."""
    assert actor.user_id is not None
    hashes = {passage.content_hash: passage for passage in passages}
    standing = select(Flag.content_hash).where(
        Flag.content_hash.in_(list(hashes)), Flag.reason == reason.value, Flag.cleared_at.is_(None)
    )
    known = set(session.scalars(standing))
    added = 0
    for content_hash, passage in hashes.items():
        if content_hash in known:
            continue
        made = Flag(
            id=secrets.token_hex(8),
            content_hash=content_hash,
            passage_id=passage.passage_id,
            corpus_id=passage.corpus_id,
            reason=reason.value,
            note=text,
            user_id=actor.user_id,
            created_at=datetime.now(UTC),
        )
        session.add(made)
        note(session, actor, "flag.add", passage.passage_id, flag=made.id, reason=reason.value)
        added += 1
    session.flush()
    return added


def clear(session: Session, actor: Actor, flag_id: str) -> Flag:
    """Take a flag back; it stays in the history. Raises UserError."""
    found = session.scalar(select(Flag).where(Flag.id == flag_id).with_for_update())
    if found is None:
        raise UserError("There is no such flag.", "The list of flags names them.")
    if found.cleared_at is None:
        found.cleared_at, found.cleared_by = datetime.now(UTC), actor.user_id
        note(session, actor, "flag.clear", found.passage_id, flag=found.id, reason=found.reason)
    return found


def passages_named(session: Session, corpus_id: str, ids: Sequence[str]) -> list[Passage]:
    """The passages of a corpus with these ids. Raises UserError, naming those that are not there."""
    if len(ids) > MOST_AT_ONCE:
        raise UserError(f"These are {len(ids):,} ids; {MOST_AT_ONCE:,} can be flagged at once.", "Flag them in parts.")
    wanted = select(Passage).where(Passage.corpus_id == corpus_id, Passage.passage_id.in_(ids))
    found = {passage.passage_id: passage for passage in session.scalars(wanted)}
    if missing := [one for one in ids if one not in found]:
        some = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise UserError(
            f"The corpus has no passage {some[:300]}.", "Take the ids from its passages' pages. Nothing was flagged."
        )
    return list(found.values())


def flags_of(session: Session, content_hash: str) -> list[FlagRow]:
    """All flags of a text, standing ones first, then the newest."""
    rows = _rows([Flag.content_hash == content_hash]).order_by(Flag.cleared_at.is_not(None), Flag.created_at.desc())
    return [FlagRow(*row) for row in session.execute(rows)]


def listed(session: Session, wanted: FlagFilter, limit: int, after: str | None) -> tuple[list[FlagRow], bool]:
    """A page of flags, the newest first, behind the flag ``after``; and whether there are more."""
    statement = _rows(wanted.conditions()).order_by(Flag.created_at.desc(), Flag.id.desc())
    before = None if after is None else session.get(Flag, after)
    if before is not None:
        statement = statement.where(tuple_(Flag.created_at, Flag.id) < (before.created_at, before.id))
    rows = [FlagRow(*row) for row in session.execute(statement.limit(limit + 1))]
    return rows[:limit], len(rows) > limit


def every(session: Session, wanted: FlagFilter) -> Iterator[FlagRow]:
    """All of them, the newest first."""
    after: str | None = None
    more = True
    while more:
        rows, more = listed(session, wanted, BATCH, after)
        yield from rows
        after = rows[-1].flag.id if rows else None


def count_by_reason(session: Session, wanted: FlagFilter) -> dict[str, int]:
    """Reason -> how many flags."""
    rows = session.execute(select(Flag.reason, func.count()).where(*wanted.conditions()).group_by(Flag.reason))
    return {reason: count for reason, count in rows}


def flagged_ids(session: Session, corpus_id: str, reason: str | None = None) -> list[str]:
    """Ids of a corpus's passages whose text is flagged, in the order of the corpus."""
    ids = select(Passage.passage_id).where(Passage.corpus_id == corpus_id, Passage.content_hash.in_(_hashes(reason)))
    return list(session.scalars(ids.order_by(Passage.position)))


def unflagged(session: Session, corpus_id: str, reason: str | None = None) -> Iterator[Record]:
    """The passages of a corpus whose text is not flagged, in its order, with their whole texts."""
    position = -1
    while True:
        wanted = select(Passage).where(Passage.corpus_id == corpus_id, Passage.position > position)
        wanted = wanted.where(Passage.content_hash.not_in(_hashes(reason))).order_by(Passage.position).limit(BATCH)
        rows = revealed(session, session.scalars(wanted).all(), to_all=True)
        for row in rows:
            yield Record(row.passage_id, row.text, row.source, row.title, row.url, row.license, row.near_duplicates)
        if len(rows) < BATCH:
            return
        position = rows[-1].position
        session.expunge_all()


def _hashes(reason: str | None) -> ColumnElement[str]:
    standing = select(Flag.content_hash).where(*FlagFilter(reason=reason).conditions())
    return standing.scalar_subquery()


def _rows(conditions: Sequence[ColumnElement[bool]]):  # type: ignore[no-untyped-def]
    setter, clearer = aliased(User), aliased(User)
    source = (
        select(Passage.source).where(Passage.content_hash == Flag.content_hash).order_by(Passage.pk.desc()).limit(1)
    )
    return (
        select(Flag, setter.name, clearer.name, source.scalar_subquery())
        .join(setter, setter.id == Flag.user_id)
        .outerjoin(clearer, clearer.id == Flag.cleared_by)
        .where(*conditions)
    )
