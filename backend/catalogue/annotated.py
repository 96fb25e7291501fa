"""What annotations leave on rows of prompts, kept there for lists and pages."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from backend.catalogue.annotation_models import Annotation
from backend.catalogue.models import Prompt


def count_annotations(session: Session, which: ColumnElement[bool]) -> None:
    """Count the annotations of some prompts again."""
    standing = (
        select(func.count())
        .select_from(Annotation)
        .where(Annotation.query_hash == Prompt.query_hash, Annotation.deleted_at.is_(None))
        .scalar_subquery()
    )
    session.execute(update(Prompt).where(which).values(annotation_count=standing))
