"""Opening the catalogue: SQLite or PostgreSQL, its transactions, and bringing it to the newest schema.

On SQLite every transaction begins explicitly: ``BEGIN`` for reads, ``BEGIN IMMEDIATE`` for writes, so that a
writer waits for the lock at its start and never fails half-way for having read first.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from backend.core.errors import UserError
from backend.settings import Settings

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
BUSY_MILLISECONDS = 30_000
"""How long a transaction waits for another process's write."""

MIGRATION_BUSY_MILLISECONDS = 600_000
FIXED_IN = (3, 51, 3)
"""Older SQLite versions can corrupt a WAL database that two processes write to."""

MIGRATION_LOCK = 7_205_590_115
"""Key of the PostgreSQL advisory lock that lets one process migrate at a time."""


class CatalogueError(UserError):
    """The catalogue cannot be opened, is busy, full, or of a newer version."""


def open_catalogue(settings_or_url: Settings | str) -> Engine:
    """An engine for the catalogue that the settings or a SQLAlchemy URL name; connects when first used."""
    given = settings_or_url if isinstance(settings_or_url, str) else settings_or_url.catalogue_url
    try:
        url = make_url(given)
        if url.get_backend_name() in ("postgresql", "postgres"):
            return _open_postgresql(url)
        if url.get_backend_name() == "sqlite" and url.database:
            return _open_sqlite(url)
    except (ArgumentError, NoSuchModuleError):
        pass
    raise CatalogueError(
        f"{redacted(given)!r} is not the URL of a catalogue.",
        "Give PROPONENT_DATABASE_URL as sqlite:////folder/file.db or postgresql://user@host/database.",
    )


def redacted(url: str) -> str:
    """A database URL fit for messages: without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url.rpartition("@")[2]


def sqlite_module() -> ModuleType:
    """The SQLite driver to use: the standard library's where its SQLite is sound, else pysqlite3."""
    if sqlite3.sqlite_version_info >= FIXED_IN:
        return sqlite3
    with contextlib.suppress(ImportError):
        import pysqlite3.dbapi2

        bundled: ModuleType = pysqlite3.dbapi2
        if bundled.sqlite_version_info >= FIXED_IN:
            return bundled
    return sqlite3


def _open_sqlite(url: URL) -> Engine:
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogueError(
            f"The folder {path.parent} cannot be made ({error.strerror}).",
            "Choose another home with --home or PROPONENT_HOME.",
        ) from error
    engine = create_engine(url.set(drivername="sqlite+pysqlite"), module=sqlite_module(), hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event starts the transactions
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
    _enter_wal(cursor)
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _enter_wal(cursor: Any) -> None:
    """Switch to write-ahead logging; SQLite does not wait for the lock here, so this does."""
    deadline = time.monotonic() + BUSY_MILLISECONDS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA busy_timeout={options.get('busy_milliseconds', BUSY_MILLISECONDS)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write") else "BEGIN")


def _open_postgresql(url: URL) -> Engine:
    try:
        return create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise CatalogueError(
            "The catalogue's URL names PostgreSQL, but psycopg is not installed.",
            "Run `pip install -c constraints.txt 'proponent[postgres]'`.",
        ) from error


@contextmanager
def read_session(engine: Engine) -> Iterator[Session]:
    """A session in one read transaction: a single view of the catalogue, whatever is written meanwhile."""
    with clear_errors(engine), Session(engine.execution_options(postgresql_readonly=True)) as session:
        yield session


@contextmanager
def write_session(
    engine: Engine, busy_milliseconds: int = BUSY_MILLISECONDS, *, shown: bool = True
) -> Iterator[Session]:
    """A session in one write transaction: committed at the end of the block, rolled back on an error.

    With ``shown`` false the write changes nothing that pages of prompts, passages and permalinks show: those that the
    server keeps stay.
    """
    bound = engine.execution_options(write=True, busy_milliseconds=busy_milliseconds)
    with clear_errors(engine), Session(bound, expire_on_commit=False) as session, session.begin():
        session.connection()  # takes SQLite's write lock here, not at the first statement
        yield session
        if shown:
            session.execute(text("UPDATE content_version SET version = version + 1"))


def content_version(connection: Connection) -> int:
    """Another number after every write to what pages show."""
    return int(connection.scalar(text("SELECT version FROM content_version")) or 0)


@contextmanager
def clear_errors(engine: Engine) -> Iterator[None]:
    """Turn what a user can mend (busy, full, unreachable, not a database) into a CatalogueError."""
    try:
        yield
    except PoolTimeout as error:
        raise CatalogueError("Too many are reading the catalogue at once.", "Try again in a moment.") from error
    except DatabaseError as error:
        reason = str(error.orig)
        found = next((pair for part, pair in _REMEDIES.items() if part in reason), None)
        if found is None:
            raise
        what, remedy = found
        where = engine.url.render_as_string(hide_password=True)
        raise CatalogueError(f"The catalogue {where} {what} ({reason.strip()}).", remedy) from error


_REMEDIES = {
    "database is locked": ("is busy", "Wait until the other command has ended, then run this one again."),
    "disk is full": ("could not be written", "Free some space and run the same command again."),
    "disk I/O error": ("could not be written", "Check the disk and its free space, then run the same command again."),
    "readonly database": ("may not be written", "Give this user the right to write to its folder."),
    "unable to open": ("cannot be opened", "Check that the folder exists and this user may write to it."),
    "not a database": (
        "is not a SQLite database",
        "Move the file away; the catalogue is built again from the artifacts.",
    ),
    "malformed": ("is damaged", "Restore it from a backup, or move it away to build it again."),
    "connection is bad": (
        "cannot be reached",
        "Check PROPONENT_DATABASE_URL and that the server is running.",
    ),
    "connection failed": (
        "cannot be reached",
        "Check PROPONENT_DATABASE_URL and that the server is running.",
    ),
}


def migrate(engine: Engine) -> None:
    """Bring the catalogue to the newest schema; any number of processes may call this at once.

    Raises CatalogueError where the database was written by a newer version of Proponent.
    """
    with clear_errors(engine):
        with engine.connect() as connection:
            if _is_newest(connection):
                return
        with exclusive(engine) as connection:
            if not _is_newest(connection):
                command.upgrade(alembic_config(connection), "head")


@contextmanager
def exclusive(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that no other process's migration or write runs beside.

    On SQLite foreign keys are off in it (rebuilding a table would cascade) and checked at its end.
    """
    options = {"write": True, "busy_milliseconds": MIGRATION_BUSY_MILLISECONDS}
    with engine.connect().execution_options(**options) as connection:
        if engine.dialect.name != "sqlite":
            with connection.begin():
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                yield connection
            return
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                yield connection
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise RuntimeError(f"the migration left {len(broken)} dangling references")
        finally:
            driver.execute("PRAGMA foreign_keys=ON")


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration for the migrations beside this package, over a connection in a transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _is_newest(connection: Connection) -> bool:
    scripts = ScriptDirectory.from_config(alembic_config())
    current = MigrationContext.configure(connection).get_current_heads()
    for revision in current:
        try:
            scripts.get_revision(revision)
        except CommandError as error:
            raise CatalogueError(
                f"The catalogue {connection.engine.url.render_as_string(hide_password=True)} is of revision "
                f"{revision}, which this version of Proponent does not know: a newer version wrote it.",
                "Upgrade Proponent, or choose another home with --home or PROPONENT_HOME.",
            ) from error
    return set(current) == set(scripts.get_heads())
