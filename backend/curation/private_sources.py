"""Private sources: their passages are shown to readers without their text; credit, scores and ids stay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.accounts.audit import Actor, note
from backend.catalogue.account_models import User
from backend.catalogue.annotation_models import PrivateSource
from backend.catalogue.models import Passage
from backend.catalogue.withheld import release, withhold
from backend.core.errors import UserError

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Source:
    """A source of the loaded corpora, or one that is private and of none of them."""

    name: str
    passages: int
    """Of all corpora together."""
    private: PrivateSource | None
    by: str | None
    """Who made it private."""


def sources(session: Session) -> list[Source]:
    """All sources, private ones first, then by name."""
    counts = {
        source: count
        for source, count in session.execute(select(Passage.source, func.count()).group_by(Passage.source))
    }
    rows = session.execute(select(PrivateSource, User.name).join(User, User.id == PrivateSource.user_id))
    private = {row.source: (row, name) for row, name in rows}
    found = [Source(name, counts.get(name, 0), *private.get(name, (None, None))) for name in counts | private]
    return sorted(found, key=lambda source: (source.private is None, source.name))


def make_private(session: Session, actor: Actor, name: str, reason: str) -> None:
    """Hide the texts of a source's passages from readers, in every corpus, loaded or to come. Raises UserError."""
    assert actor.user_id is not None
    if not name:
        raise UserError(
            "A source without a name cannot be private.", "Give its passages a source and import them anew."
        )
    if len(reason) > LONGEST_REASON:
        raise UserError(f"A reason has at most {LONGEST_REASON} characters.", "Shorten it.")
    if session.get(PrivateSource, name) is not None:
        return
    if session.scalar(select(Passage.pk).where(Passage.source == name).limit(1)) is None:
        raise UserError(f"No passage comes from {name[:100]!r}.", "The list of sources names them.")
    session.add(PrivateSource(source=name, reason=reason, user_id=actor.user_id, created_at=datetime.now(UTC)))
    withhold(session, Passage.source == name)
    note(session, actor, "source.private", name, reason=reason)


def make_public(session: Session, actor: Actor, name: str) -> None:
    """Show the texts of a source's passages to everybody again."""
    found = session.get(PrivateSource, name)
    if found is None:
        return
    session.delete(found)
    release(session, Passage.source == name)
    note(session, actor, "source.public", name)
