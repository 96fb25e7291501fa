"""Tables of what people say of passages: annotations with their history, pools to judge blind, flags.

None of them refers to a row of prompts or passages: a query is known by the hash of its texts and a passage by the hash
of its text (and by the id that its corpus gives it), so that a judgement holds for the same texts in any corpus that is
loaded later.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from backend.catalogue.base import Base

_IN_PLACE, _IN_POOL, _STANDING = text("pool_id IS NULL"), text("pool_id IS NOT NULL"), text("cleared_at IS NULL")


class Pool(Base):
    """Passages to judge blind: the first k of some runs' lists, for some prompts, without method, rank and score."""

    __tablename__ = "pools"

    id: Mapped[str] = mapped_column(primary_key=True)
    """Random; used in addresses."""
    name: Mapped[str]
    guidelines: Mapped[str]
    """What annotators read beside the passages."""
    runs: Mapped[list[Any]]
    """Ids of the runs whose lists were pooled."""
    depth: Mapped[int]
    """How many of each list (k)."""
    target: Mapped[int]
    """How many annotators judge an item (n)."""
    seed: Mapped[int]
    """Of each annotator's order."""
    prompts: Mapped[dict[str, Any]]
    """Which prompts: the filter of a list, and how many were drawn from it."""
    created_at: Mapped[datetime]
    created_by: Mapped[int] = mapped_column(ForeignKey("users.id"))
    closed_at: Mapped[datetime | None]


class PoolItem(Base):
    """A passage to judge for a prompt; ``ranks`` says which runs it came from, which annotators never see."""

    __tablename__ = "pool_items"
    __table_args__ = (UniqueConstraint("pool_id", "query_hash", "content_hash"),)

    pk: Mapped[int] = mapped_column(primary_key=True)
    pool_id: Mapped[str] = mapped_column(ForeignKey("pools.id", ondelete="CASCADE"))
    query_hash: Mapped[str]
    content_hash: Mapped[str]
    slug: Mapped[str]
    """Of the prompt when the pool was made."""
    passage_id: Mapped[str]
    ranks: Mapped[dict[str, Any]]
    """Run id -> rank, from 1."""


class PoolSkip(Base):
    """An item that an annotator has put aside."""

    __tablename__ = "pool_skips"

    item_pk: Mapped[int] = mapped_column(ForeignKey("pool_items.pk", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    at: Mapped[datetime]


class Annotation(Base):
    """What one annotator says of one passage for one query, as it stands now; ``annotation_changes`` has how it came.

    There is at most one in place (``pool_id`` None) and one in each pool.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        Index(
            "uq_annotations_in_place",
            "user_id",
            "query_hash",
            "content_hash",
            unique=True,
            sqlite_where=_IN_PLACE,
            postgresql_where=_IN_PLACE,
        ),
        Index(
            "uq_annotations_in_pool",
            "user_id",
            "query_hash",
            "content_hash",
            "pool_id",
            unique=True,
            sqlite_where=_IN_POOL,
            postgresql_where=_IN_POOL,
        ),
        Index("ix_annotations_query", "query_hash", "content_hash"),
        Index("ix_annotations_pool", "pool_id"),
        Index("ix_annotations_user", "user_id", "updated_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    """Random; the same in every installation that imports it."""
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    pool_id: Mapped[str | None] = mapped_column(ForeignKey("pools.id"))
    """The pool that it was made in, blind; None for one made in place."""
    query_hash: Mapped[str]
    content_hash: Mapped[str]
    subject: Mapped[dict[str, Any]]
    """What it is about, in words, for exports and for the day when the corpus is gone: slug, task, prompt, completion,
    passage_id, corpus, and the runs in whose lists the passage stood."""
    label: Mapped[str | None]
    span: Mapped[dict[str, Any] | None]
    """``{"quote","prefix","suffix","start","end"}`` in the passage's text (characters)."""
    note: Mapped[str]
    version: Mapped[int]
    """Counts the changes, from 1; an edit names the one that it was made from."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class AnnotationChange(Base):
    """One version of an annotation; only ever added to."""

    __tablename__ = "annotation_changes"

    annotation_id: Mapped[str] = mapped_column(ForeignKey("annotations.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str]
    """create, edit, delete or restore."""
    label: Mapped[str | None]
    span: Mapped[dict[str, Any] | None]
    note: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    """Who made the change."""
    at: Mapped[datetime]


class Flag(Base):
    """A curator's word that a passage should not be trained on."""

    __tablename__ = "flags"
    __table_args__ = (
        Index(
            "uq_flags_standing",
            "content_hash",
            "reason",
            unique=True,
            sqlite_where=_STANDING,
            postgresql_where=_STANDING,
        ),
        Index("ix_flags_passage", "passage_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    content_hash: Mapped[str]
    passage_id: Mapped[str]
    corpus_id: Mapped[str]
    """The corpus in which it was flagged."""
    reason: Mapped[str]
    """toxic, wrong, private or licence."""
    note: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    cleared_at: Mapped[datetime | None]
    cleared_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))


class PrivateSource(Base):
    """A source whose passages are shown to readers without their text."""

    __tablename__ = "private_sources"

    source: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
