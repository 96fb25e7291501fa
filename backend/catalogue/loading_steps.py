"""Steps that all loaders share: is the artifact loaded, are its inputs, and writing many rows."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import Table, insert, select, text
from sqlalchemy.orm import Session

from backend.catalogue.artifact_reader import ArtifactReader
from backend.catalogue.models import Base, Corpus, Measurement, Model, OutputSet, PatchSet, QuerySet, Run
from backend.core.errors import MissingArtifact

LOADING_LOCK = 7_205_590_116
"""Key of the PostgreSQL advisory lock: one load at a time (SQLite has one writer anyway)."""

ArtifactTable = (
    type[Corpus] | type[Model] | type[QuerySet] | type[OutputSet] | type[Run] | type[PatchSet] | type[Measurement]
)


def one_at_a_time(session: Session) -> None:
    """Let no other process load anything, or add a question's prompt, until this transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOADING_LOCK})


def is_loaded(session: Session, table: ArtifactTable, artifact_id: str) -> bool:
    """True if the artifact is there; else no other process loads anything until this transaction ends."""
    one_at_a_time(session)
    return _is_there(session, table, artifact_id)


def require_loaded(session: Session, table: ArtifactTable, artifact_id: str, user: ArtifactReader) -> None:
    """Raise MissingArtifact unless an input of ``user`` is in the catalogue."""
    if not _is_there(session, table, artifact_id):
        kind = table.__tablename__.replace("_", " ").removesuffix("s").replace("corpora", "corpus")
        raise MissingArtifact(
            f"The {user.manifest.kind} {user.id} needs the {kind} {artifact_id}, which the catalogue lacks.",
            "Make or load that first; running the same command again does so.",
        )


def insert_rows(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
    """Insert rows by their columns' names, past the unit of work: nothing of them stays in the session."""
    if rows:
        session.connection().execute(insert(cast(Table, table.__table__)), rows)


def _is_there(session: Session, table: ArtifactTable, artifact_id: str) -> bool:
    return session.scalars(select(table.id).where(table.id == artifact_id)).first() is not None
