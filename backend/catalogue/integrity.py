"""A quick look whether the database is whole; `proponent verify` checks the artifacts' bytes."""

from __future__ import annotations

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from backend.catalogue.annotation_models import Annotation, AnnotationChange
from backend.catalogue.models import Corpus, Passage

MOST = 20


def quick_check(session: Session) -> list[str]:
    """What is wrong with the database, in words; empty where nothing is.

    SQLite: its own check of pages and indexes, and references to rows that are not there (PostgreSQL keeps both by
    itself). Both: annotations without their history, corpora with fewer passages than they say.
    """
    found: list[str] = []
    if session.get_bind().dialect.name == "sqlite":
        said = [str(row[0]) for row in session.execute(text(f"PRAGMA quick_check({MOST})"))]
        found += [f"SQLite: {line}" for line in said if line != "ok"]
        for table, row, parent, _ in list(session.execute(text("PRAGMA foreign_key_check")))[:MOST]:
            found.append(f"Row {row} of {table} refers to a row of {parent} that is not there.")
    versions = (
        select(func.count())
        .select_from(AnnotationChange)
        .where(AnnotationChange.annotation_id == Annotation.id)
        .scalar_subquery()
    )
    broken = select(Annotation.id).where(versions != Annotation.version).order_by(Annotation.id).limit(MOST)
    found += [f"The history of annotation {one} is not whole." for one in session.scalars(broken)]
    held = select(func.count()).select_from(Passage).where(Passage.corpus_id == Corpus.id).scalar_subquery()
    short = select(Corpus.id, Corpus.passage_count, held).where(held != Corpus.passage_count).order_by(Corpus.id)
    found += [
        f"Corpus {one} says it has {said:,} passages and has {count:,}." for one, said, count in session.execute(short)
    ]
    return found
