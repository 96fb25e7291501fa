"""Filling an empty database from a dump: the dump's own schema first, then its rows, then the newest schema."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO

from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from backend.catalogue.backups.layout import LEFT_OUT, LONGEST_ROW, CatalogueDump, Columns, TableDump, kind_of
from backend.catalogue.backups.rows import BATCH, Row, decoder, insert_rows, lines_of
from backend.catalogue.database import CatalogueError, alembic_config
from backend.catalogue.search import is_of_search
from backend.core.errors import InputError

VERSIONS = "alembic_version"
JUMP = 1_000_000
"""The content version goes on by up to so much, so that no page kept from other content carries the same number."""

ANOTHER = "Use another backup."


def require_empty(connection: Connection) -> None:
    """Raise CatalogueError where a database has tables."""
    if found := inspect(connection).get_table_names():
        raise CatalogueError(
            f"The database {connection.engine.url.render_as_string(hide_password=True)} has tables ({found[0]}, ...).",
            "A backup is restored into an empty database only: make one, and name it in PROPONENT_DATABASE_URL.",
        )


def require_known(dump: CatalogueDump) -> None:
    """Raise InputError for a dump of a schema that this version of Proponent does not know."""
    try:
        known = ScriptDirectory.from_config(alembic_config()).get_revision(dump.revision)
    except CommandError:
        known = None
    if known is None or known.revision != dump.revision:
        raise InputError(
            f"The backup's catalogue is of revision {dump.revision!r}, which this version of Proponent does not know.",
            "Restore it with the version that made it, or a newer one.",
        )


class Filling:
    """An empty database that takes in a dump, table by table, in the caller's transaction."""

    def __init__(self, connection: Connection, dump: CatalogueDump) -> None:
        require_known(dump)
        require_empty(connection)
        self.connection, self.dump = connection, dump
        command.upgrade(alembic_config(connection), dump.revision)
        self._check_forms()
        for table in reversed(dump.tables):  # a migration may have written rows of its own
            connection.exec_driver_sql(f"DELETE FROM {self._quoted(table.name)}")  # noqa: S608

    def take(self, table: TableDump, lines: IO[bytes]) -> None:
        """Write a table's rows, and read them again: their SHA-256 must be what the backup says."""
        try:
            insert_rows(self.connection, table, _batches(table, lines))
        except DBAPIError as error:
            raise _refused(table, error.orig) from error
        except OverflowError as error:
            raise _refused(table, error) from error
        except Exception as error:
            if not _is_the_databases(error):
                raise
            raise _refused(table, error) from error
        digest, rows = hashlib.sha256(), 0
        for count, again in lines_of(self.connection, table):
            digest.update(again)
            rows += count
        if (rows, digest.hexdigest()) != (table.rows, table.sha256):
            raise InputError(f"The rows of {table.name} are not those that the backup's manifest states.", ANOTHER)

    def finish(self) -> None:
        """Check what refers to what, bring the schema to the newest, and number the next rows."""
        if self.connection.dialect.name == "sqlite":
            if broken := self.connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall():
                raise InputError(f"The backup is damaged: a row of {broken[0][0]} refers to one that is not there.")
        else:
            self._number_next_rows()
        command.upgrade(alembic_config(self.connection), "head")
        jump = text("UPDATE content_version SET version = version + :jump")
        self.connection.execute(jump, {"jump": 1 + secrets.randbelow(JUMP)})
        if self.connection.dialect.name == "postgresql":
            self.connection.exec_driver_sql("ANALYZE")  # or its first queries are planned for empty tables

    def _check_forms(self) -> None:
        """Raise InputError unless the dump has exactly the tables and columns of its schema."""
        inspector = inspect(self.connection)
        names = {name for name in inspector.get_table_names() if not is_of_search("table", name)}
        expected = names - LEFT_OUT.keys() - {VERSIONS}
        if {table.name for table in self.dump.tables} != expected or len(self.dump.tables) != len(expected):
            raise InputError("The backup does not have the tables of its catalogue's revision.", ANOTHER)
        for table in self.dump.tables:
            columns = {each["name"]: kind_of(each["type"], table.name) for each in inspector.get_columns(table.name)}
            key = inspector.get_pk_constraint(table.name)["constrained_columns"]
            if table.columns != columns or table.key != key:
                raise InputError(f"The backup's table {table.name} has other columns than its revision.", ANOTHER)

    def _number_next_rows(self) -> None:
        """Let PostgreSQL's sequences go on after the largest key."""
        for table in self.dump.tables:
            for name in table.key:
                names = {"table": self._quoted(table.name), "name": name}
                sequence = self.connection.scalar(text("SELECT pg_get_serial_sequence(:table, :name)"), names)
                if sequence is not None:
                    largest = f"(SELECT max({self._quoted(name)}) FROM {self._quoted(table.name)})"  # noqa: S608
                    statement = text(f"SELECT setval(:sequence, coalesce({largest}, 0) + 1, false)")
                    self.connection.execute(statement, {"sequence": sequence})

    def _quoted(self, name: str) -> str:
        return self.connection.dialect.identifier_preparer.quote_identifier(name)


def _batches(table: TableDump, lines: IO[bytes]) -> Iterator[Sequence[Row]]:
    """A table's rows; raises InputError where there are more bytes or rows than the manifest states."""
    found = _rows(table, lines)
    while batch := list(islice(found, BATCH)):
        yield batch


def _rows(table: TableDump, lines: IO[bytes]) -> Iterator[Row]:
    decode, left = decoder(table), table.bytes
    while line := lines.readline(LONGEST_ROW + 1):
        left -= len(line)
        if left < 0 or len(line) > LONGEST_ROW:
            raise InputError(f"The backup is damaged: {table.name} is longer than its manifest states.", ANOTHER)
        yield decode(line)


def _is_the_databases(error: Exception) -> bool:
    """True for what the driver raised below SQLAlchemy, as COPY does; named so that psycopg may be missing."""
    return type(error).__module__.split(".")[0] == "psycopg"


def _refused(table: Columns, reason: object) -> InputError:
    what = str(reason).strip().splitlines()[0]
    return InputError(f"The database does not take the backup's rows of {table.name} ({what}).", ANOTHER)
