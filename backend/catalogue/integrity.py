"""Is the catalogue sound, and does it agree with the artifacts? No artifact is hashed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from backend.catalogue.annotation_models import Annotation, AnnotationChange
from backend.catalogue.database import alembic_config, clear_errors
from backend.catalogue.measurements import INDEX
from backend.catalogue.models import (
    Corpus,
    Measurement,
    Model,
    OutputSet,
    Passage,
    PatchSet,
    Prompt,
    QuerySet,
    Run,
)
from backend.catalogue.search import FTS
from backend.core.artifacts import Home, is_finished

RESTORE = "Restore the catalogue from a backup (`proponent restore`)"
REBUILD = "or, where nobody has written anything into it, move it away: the next command builds it from the artifacts."
FIRST = 5
"""Problems of one kind that are told; of more only how many."""

Check = Callable[[Connection], Iterator[str]]


def check_catalogue(engine: Engine, home: Home) -> list[str]:
    """Problems, each in words with what to do; none where all is well.

    Takes seconds for hundreds of thousands of passages. On SQLite it holds the write lock for the check of the
    search index.
    """
    with clear_errors(engine), engine.connect() as connection, connection.begin():
        if problems := list(_revision(connection)):
            return problems
        for check in OF_ROWS:
            problems += check(connection)
        problems += _folders(connection, home)
    if engine.dialect.name == "sqlite":
        problems += _search_index(engine)
    return problems


def quick_check(session: Session) -> list[str]:
    """The same without a look at artifacts and the search index, for a page."""
    return [problem for check in OF_ROWS for problem in check(session.connection())]


def _revision(connection: Connection) -> Iterator[str]:
    """The schema is the newest; of another one nothing else can be checked."""
    current = MigrationContext.configure(connection).get_current_heads()
    newest = ScriptDirectory.from_config(alembic_config()).get_heads()
    if set(current) != set(newest):
        yield (
            f"The catalogue's schema is of revision {', '.join(current) or 'none'}, not {', '.join(newest)}. "
            "`proponent status` brings it up to date."
        )


def _sqlite_file(connection: Connection) -> Iterator[str]:
    """SQLite's own checks: pages, rows and indexes, and what refers to what."""
    if connection.dialect.name != "sqlite":
        return
    found = [row[0] for row in connection.exec_driver_sql(f"PRAGMA integrity_check({FIRST})")]
    if found != ["ok"]:
        yield f"The catalogue's file is damaged: {'; '.join(found)}. {RESTORE}, {REBUILD}"
    dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if dangling:
        tables = sorted({f"{row[0]} to {row[2]}" for row in dangling})
        yield (
            f"{len(dangling)} rows of the catalogue refer to rows that are not there ({', '.join(tables)}). "
            f"{RESTORE}, {REBUILD}"
        )


def _folders(connection: Connection, home: Home) -> Iterator[str]:
    """Every artifact of the catalogue lies finished in the home."""
    lost = []
    for kind, statement in _ARTIFACTS:
        for artifact_id, manifest in connection.execute(statement):
            if not is_finished(home.folder(kind, artifact_id)):
                lost.append((kind, artifact_id, manifest))
    for kind, artifact_id, manifest in lost[:FIRST]:
        again = manifest.get("command") or ""
        yield (
            f"The catalogue holds the {kind} {artifact_id}, but {home.folder(kind, artifact_id)} has no finished "
            f"artifact. Restore the folder from a backup{f', or make it again: `{again}`' if again else ''}."
        )
    if len(lost) > FIRST:
        yield f"So it is with {len(lost) - FIRST} more artifacts of the catalogue."


_ARTIFACTS: tuple[tuple[str, Any], ...] = (
    ("corpus", select(Corpus.id, Corpus.manifest)),
    ("model", select(Model.id, Model.manifest)),
    ("queries", select(QuerySet.id, QuerySet.manifest).where(QuerySet.asked_of.is_(None))),
    ("outputs", select(OutputSet.id, OutputSet.manifest)),
    ("run", select(Run.id, Run.manifest)),
    ("patches", select(PatchSet.id, PatchSet.manifest)),
    ("measurement", select(Measurement.id, Measurement.manifest).where(Measurement.what != INDEX)),
    ("index", select(Measurement.id, Measurement.manifest).where(Measurement.what == INDEX)),
)
"""Kind of artifact -> the rows that one stands behind. Readers' own questions are in sets without one."""


def _passages(connection: Connection) -> Iterator[str]:
    """Every corpus has the passages that its manifest states."""
    counted = select(Passage.corpus_id, func.count()).group_by(Passage.corpus_id)
    yield from _compare(connection, "passages", counted, _ARTIFACTS[0][1])


def _prompts(connection: Connection) -> Iterator[str]:
    """Every query set has the prompts that its manifest states."""
    counted = select(Prompt.query_set_id, func.count()).group_by(Prompt.query_set_id)
    yield from _compare(connection, "queries", counted, _ARTIFACTS[2][1])


def _compare(connection: Connection, fact: str, counted: Any, owners: Any) -> Iterator[str]:
    found = {owner: count for owner, count in connection.execute(counted)}
    for owner, manifest in connection.execute(owners):
        stated = manifest.get("facts", {}).get(fact)
        if stated is not None and stated != found.get(owner, 0):
            yield (
                f"The catalogue holds {found.get(owner, 0):,} {fact} of {owner}, whose manifest states {stated:,}. "
                f"{RESTORE}, {REBUILD}"
            )


def _histories(connection: Connection) -> Iterator[str]:
    """Every annotation has all of its versions."""
    versions = (
        select(func.count())
        .select_from(AnnotationChange)
        .where(AnnotationChange.annotation_id == Annotation.id)
        .scalar_subquery()
    )
    broken = connection.scalars(select(Annotation.id).where(versions != Annotation.version).order_by(Annotation.id))
    found = broken.fetchmany(FIRST)
    if found:
        yield f"Annotations lack versions of their history ({', '.join(found)}, ...). {RESTORE}."


OF_ROWS: tuple[Check, ...] = (_sqlite_file, _passages, _prompts, _histories)
"""Each yields its problems; they run in one read transaction, over the newest schema."""


def _search_index(engine: Engine) -> Iterator[str]:
    """The full-text index says what the prompts say. SQLite takes this check for a write."""
    bound = engine.execution_options(write=True)
    with bound.connect() as connection, connection.begin() as transaction:
        try:
            connection.exec_driver_sql(f"INSERT INTO {FTS}({FTS}, rank) VALUES ('integrity-check', 1)")  # noqa: S608
        except DatabaseError as error:
            again = f"INSERT INTO {FTS}({FTS}) VALUES ('rebuild')"  # noqa: S608
            what = f"The search index does not agree with the prompts ({error.orig})."
            yield f'{what} Make it again: `sqlite3 FILE "{again}"`.'
        finally:
            transaction.rollback()
