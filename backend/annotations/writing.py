"""Writing annotations: each change is a new version, kept for good; nobody overwrites what they have not seen.

Every function takes a session in a write transaction and notes what it did in the audit trail. An annotation belongs to
its author: of anybody else's, or one that is not there, the functions raise UnknownAnnotation.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.accounts.audit import Actor, note
from backend.catalogue.annotated import count_annotations
from backend.catalogue.annotation_models import Annotation, AnnotationChange, Pool, PoolSkip
from backend.catalogue.models import Prompt
from backend.core.labels import Label
from backend.core.spans import Span

LONGEST_NOTE = 5_000


class UnknownAnnotation(Exception):
    """There is no such annotation, or it is somebody else's."""


class ClosedPool(Exception):
    """The pool that the annotation was made in is closed: what was said there stands."""


class OutdatedAnnotation(Exception):
    """The annotation has changed since its author saw it; nothing was written."""

    def __init__(self, standing: Annotation) -> None:
        super().__init__("This annotation has changed since it was shown.")
        self.standing = standing


@dataclass(frozen=True, slots=True)
class Judgement:
    """What somebody says of a passage."""

    label: Label | None
    span: Span | None
    note: str

    @property
    def is_empty(self) -> bool:
        """True where it says nothing."""
        return self.label is None and self.span is None and not self.note


@dataclass(frozen=True, slots=True)
class About:
    """What a judgement is about: a passage for a query, in a pool or (None) in place."""

    query_hash: str
    content_hash: str
    pool_id: str | None
    subject: dict[str, Any]
    """As ``Annotation.subject``."""


def find_own(session: Session, user_id: int, about: About, *, lock: bool = False) -> Annotation | None:
    """A user's annotation of something, a deleted one too; ``lock``: to be changed."""
    wanted = select(Annotation).where(
        Annotation.user_id == user_id,
        Annotation.query_hash == about.query_hash,
        Annotation.content_hash == about.content_hash,
        Annotation.pool_id.is_(None) if about.pool_id is None else Annotation.pool_id == about.pool_id,
    )
    return session.scalar(wanted.with_for_update() if lock else wanted)


def own_annotation(session: Session, user_id: int | None, annotation_id: str) -> Annotation:
    """A user's annotation by its id; raises UnknownAnnotation."""
    wanted = select(Annotation).where(Annotation.id == annotation_id, Annotation.user_id == user_id)
    found = session.scalar(wanted.with_for_update())
    if found is None:
        raise UnknownAnnotation
    return found


def save(session: Session, actor: Actor, about: About, judgement: Judgement, version: int) -> Annotation:
    """Store a judgement that was made from ``version`` of the annotation, 0 where there was none.

    The same judgement again changes nothing, so that a form may be sent twice. Raises OutdatedAnnotation, ClosedPool.
    """
    assert actor.user_id is not None
    _require_open(session, about.pool_id)
    standing = find_own(session, actor.user_id, about, lock=True)
    if standing is None:
        try:
            with session.begin_nested():
                return _create(session, actor, actor.user_id, about, judgement)
        except IntegrityError:  # the same form, sent twice at once
            standing = find_own(session, actor.user_id, about, lock=True)
            if standing is None:
                raise
    if standing.deleted_at is None and content_of(standing) == stored_content(judgement):
        return standing
    if standing.version != version:
        raise _outdated(session, standing)
    action = "edit" if standing.deleted_at is None else "restore"
    standing.subject = about.subject
    return _change(session, actor, standing, action, stored_content(judgement))


def delete(session: Session, actor: Actor, annotation_id: str, version: int) -> Annotation:
    """Take an annotation back; what it said stays in its history.

    Raises UnknownAnnotation, OutdatedAnnotation, ClosedPool.
    """
    standing = _at(session, actor, annotation_id, version)
    if standing.deleted_at is not None:
        return standing
    return _change(session, actor, standing, "delete", content_of(standing))


def undo(session: Session, actor: Actor, annotation_id: str, version: int) -> Annotation:
    """Put an annotation back to what it was before its last change; undone twice, it is as it was.

    Raises UnknownAnnotation, OutdatedAnnotation, ClosedPool.
    """
    standing = _at(session, actor, annotation_id, version)
    before = session.get(AnnotationChange, (annotation_id, standing.version - 1))
    if before is None or before.action == "delete":
        return _change(session, actor, standing, "delete", content_of(standing))
    action = "edit" if standing.deleted_at is None else "restore"
    return _change(session, actor, standing, action, (before.label, before.span, before.note))


def history(session: Session, annotation_id: str) -> list[AnnotationChange]:
    """All versions of an annotation, from the first."""
    wanted = select(AnnotationChange).where(AnnotationChange.annotation_id == annotation_id)
    return list(session.scalars(wanted.order_by(AnnotationChange.version)))


def skip(session: Session, user_id: int, item_pk: int) -> None:
    """Put an item of a pool aside; again, it stays aside."""
    if session.get(PoolSkip, (item_pk, user_id)) is None:
        session.add(PoolSkip(item_pk=item_pk, user_id=user_id, at=datetime.now(UTC)))


Content = tuple[str | None, dict[str, Any] | None, str]


def stored_content(judgement: Judgement) -> Content:
    """A judgement as its columns hold it."""
    span = None if judgement.span is None else judgement.span.as_json()
    return (None if judgement.label is None else judgement.label.value), span, judgement.note


def content_of(annotation: Annotation | AnnotationChange) -> Content:
    """What an annotation says."""
    return annotation.label, annotation.span, annotation.note


def _at(session: Session, actor: Actor, annotation_id: str, version: int) -> Annotation:
    found = own_annotation(session, actor.user_id, annotation_id)
    _require_open(session, found.pool_id)
    if found.version != version:
        raise _outdated(session, found)
    return found


def _require_open(session: Session, pool_id: str | None) -> None:
    """Raise ClosedPool; an open one stays open until the transaction ends."""
    if pool_id is None:
        return
    closed_at = session.execute(
        select(Pool.closed_at).where(Pool.id == pool_id).with_for_update(read=True)
    ).scalar_one()
    if closed_at is not None:
        raise ClosedPool


def _outdated(session: Session, standing: Annotation) -> OutdatedAnnotation:
    """The refusal, with an annotation that can be read after the session has ended."""
    session.expunge(standing)
    return OutdatedAnnotation(standing)


def _create(session: Session, actor: Actor, user_id: int, about: About, judgement: Judgement) -> Annotation:
    label, span, text = stored_content(judgement)
    now = datetime.now(UTC)
    made = Annotation(
        id=secrets.token_hex(12),
        user_id=user_id,
        pool_id=about.pool_id,
        query_hash=about.query_hash,
        content_hash=about.content_hash,
        subject=about.subject,
        label=label,
        span=span,
        note=text,
        version=1,
        created_at=now,
        updated_at=now,
        deleted_at=None,
    )
    session.add(made)
    session.flush()
    _keep(session, actor, made, "create")
    return made


def _change(session: Session, actor: Actor, standing: Annotation, action: str, content: Content) -> Annotation:
    standing.label, standing.span, standing.note = content
    standing.version += 1
    standing.updated_at = datetime.now(UTC)
    standing.deleted_at = standing.updated_at if action == "delete" else None
    _keep(session, actor, standing, action)
    return standing


def _keep(session: Session, actor: Actor, annotation: Annotation, action: str) -> None:
    """Add what stands now to the history and the audit trail, and count the prompt's annotations again."""
    assert actor.user_id is not None
    label, span, text = content_of(annotation)
    session.add(
        AnnotationChange(
            annotation_id=annotation.id,
            version=annotation.version,
            action=action,
            label=label,
            span=span,
            note=text,
            user_id=actor.user_id,
            at=annotation.updated_at,
        )
    )
    note(session, actor, f"annotation.{action}", annotation.id, version=annotation.version)
    session.flush()
    if action != "edit":
        count_annotations(session, Prompt.query_hash == annotation.query_hash)
