"""What annotations and private sources leave on rows of prompts and passages, kept there for lists and pages."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from backend.catalogue.annotation_models import Annotation, PrivateSource
from backend.catalogue.models import Passage, Prompt


def count_annotations(session: Session, which: ColumnElement[bool]) -> None:
    """Count the annotations of some prompts again."""
    standing = (
        select(func.count())
        .select_from(Annotation)
        .where(Annotation.query_hash == Prompt.query_hash, Annotation.deleted_at.is_(None))
        .scalar_subquery()
    )
    session.execute(update(Prompt).where(which).values(annotation_count=standing))


def withhold_private_sources(session: Session, corpus_id: str) -> None:
    """Mark the passages of private sources in a corpus that has just been loaded."""
    private = select(PrivateSource.source)
    session.execute(
        update(Passage).where(Passage.corpus_id == corpus_id, Passage.source.in_(private)).values(withheld=True)
    )
