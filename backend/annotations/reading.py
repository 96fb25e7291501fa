"""Annotations for pages and exports: whose a viewer may see, of a prompt's passages and in lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_, select, tuple_
from sqlalchemy.orm import Session

from backend.catalogue.account_models import User
from backend.catalogue.annotation_models import Annotation, Pool
from backend.core.labels import Label
from backend.core.spans import Span, find_again


@dataclass(frozen=True, slots=True)
class Shown:
    """An annotation as pages show it."""

    id: str
    author: str
    own: bool
    label: Label | None
    note: str
    quote: str | None
    span: Span | None
    """Where the passage's text holds the quote now; None where it has none or lost it."""
    lost: bool
    """The text has changed and no longer holds the quote."""
    earlier_text: bool
    """It was made on another text of the passage of this id."""
    pool_id: str | None


def known_label(value: str | None) -> Label | None:
    """A stored label; None for none, and for one that this version does not know."""
    return None if value is None or value not in tuple(Label) else Label(value)


def of_prompt(
    session: Session, query_hash: str, passages: Mapping[str, tuple[str, str]], user_id: int | None, *, others: bool
) -> dict[str, list[Shown]]:
    """Passage id -> annotations of it for a query: one's own first, then the oldest.

    ``passages``: passage id -> (content hash, text). A passage whose text has changed since keeps what was said of its
    id. What others said in a pool stays hidden while the pool is open.
    """
    mine = Annotation.user_id == user_id
    of_others = or_(Annotation.pool_id.is_(None), Pool.closed_at.is_not(None))
    rows = session.execute(
        select(Annotation, User.name)
        .join(User, User.id == Annotation.user_id)
        .outerjoin(Pool, Pool.id == Annotation.pool_id)
        .where(Annotation.query_hash == query_hash, Annotation.deleted_at.is_(None))
        .where(or_(mine, of_others) if others else mine)
        .order_by(Annotation.created_at, Annotation.id)
    ).all()
    by_hash: dict[str, list[str]] = defaultdict(list)
    for passage_id, (content_hash, _) in passages.items():
        by_hash[content_hash].append(passage_id)
    found: dict[str, list[Shown]] = defaultdict(list)
    for annotation, author in rows:
        named = str(annotation.subject.get("passage_id", ""))
        places = by_hash.get(annotation.content_hash) or ([named] if named in passages else [])
        for passage_id in places:
            content_hash, text = passages[passage_id]
            own = annotation.user_id == user_id
            found[passage_id].append(_shown(annotation, author, own, content_hash, text))
    return {passage_id: sorted(shown, key=lambda one: not one.own) for passage_id, shown in found.items()}


def _shown(annotation: Annotation, author: str, own: bool, content_hash: str, text: str) -> Shown:
    span = None if annotation.span is None else find_again(text, annotation.span)
    return Shown(
        id=annotation.id,
        author=author,
        own=own,
        label=known_label(annotation.label),
        note=annotation.note,
        quote=None if annotation.span is None else annotation.span["quote"],
        span=span,
        lost=annotation.span is not None and span is None,
        earlier_text=annotation.content_hash != content_hash,
        pool_id=annotation.pool_id,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which annotations a list holds; None lets everything through."""

    user_id: int | None = None
    user: str | None = None
    pool: str | None = None
    """A pool's id, or ``none`` for those made in place."""
    label: str | None = None
    deleted: bool = False
    """Whether deleted ones are in the list too."""

    def conditions(self) -> list[ColumnElement[bool]]:
        """As SQL conditions on annotations joined with their users."""
        found: list[ColumnElement[bool]] = [] if self.deleted else [Annotation.deleted_at.is_(None)]
        if self.user_id is not None:
            found.append(Annotation.user_id == self.user_id)
        if self.user is not None:
            found.append(User.name == self.user)
        if self.pool is not None:
            found.append(Annotation.pool_id.is_(None) if self.pool == "none" else Annotation.pool_id == self.pool)
        if self.label is not None:
            found.append(Annotation.label == self.label)
        return found


def listed(
    session: Session, wanted: Wanted, limit: int, after: str | None = None
) -> tuple[list[tuple[Annotation, str]], bool]:
    """(annotation, author) of a page, the last changed first, and whether there are more.

    ``after``: the id of the annotation before the page; one that is not there begins the list again.
    """
    statement = (
        select(Annotation, User.name)
        .join(User, User.id == Annotation.user_id)
        .where(*wanted.conditions())
        .order_by(Annotation.updated_at.desc(), Annotation.id.desc())
    )
    before = None if after is None else session.get(Annotation, after)
    if before is not None:
        statement = statement.where(tuple_(Annotation.updated_at, Annotation.id) < (before.updated_at, before.id))
    rows = [(annotation, author) for annotation, author in session.execute(statement.limit(limit + 1))]
    return rows[:limit], len(rows) > limit


def in_batches(session: Session, wanted: Wanted) -> Iterator[list[tuple[Annotation, str]]]:
    """All of them with their authors' names, from the oldest."""
    last: tuple[datetime, str] | None = None
    while True:
        statement = select(Annotation, User.name).join(User, User.id == Annotation.user_id).where(*wanted.conditions())
        if last is not None:
            statement = statement.where(tuple_(Annotation.created_at, Annotation.id) > last)
        ordered = statement.order_by(Annotation.created_at, Annotation.id).limit(BATCH)
        rows = [(annotation, author) for annotation, author in session.execute(ordered)]
        yield rows
        if len(rows) < BATCH:
            return
        last = rows[-1][0].created_at, rows[-1][0].id


BATCH = 500


def names_of(session: Session, user_ids: Collection[int]) -> dict[int, str]:
    """Primary key -> name of users."""
    return {pk: name for pk, name in session.execute(select(User.id, User.name).where(User.id.in_(user_ids)))}


def words_of(annotation: Annotation) -> dict[str, Any]:
    """What an annotation is about, in the words that were kept; missing ones are empty."""
    empty = dict.fromkeys(("slug", "task", "prompt", "completion", "passage_id", "corpus"), "")
    return {**empty, "runs": {}, **annotation.subject}
