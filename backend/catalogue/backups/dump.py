"""Dumping a catalogue while others write to it: all tables from one snapshot."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine

from backend.catalogue.backups.layout import LEFT_OUT, CatalogueDump, Columns, TableDump, dumped_tables
from backend.catalogue.backups.rows import lines_of
from backend.catalogue.database import clear_errors

SPEED = 1
"""Of gzip: higher numbers are slower by far, and smaller by little."""


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection in one read transaction: every statement sees the catalogue as it is at the first one."""
    options: dict[str, Any] = {"postgresql_readonly": True}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    with clear_errors(engine), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def dump_catalogue(connection: Connection, folder: str, into: BinaryIO) -> CatalogueDump:
    """Append every table's lines to a file, each table compressed by itself; the catalogue is of the newest schema."""
    (revision,) = MigrationContext.configure(connection).get_current_heads()
    tables = [_dump_table(connection, form, into) for form in dumped_tables()]
    return CatalogueDump(folder=folder, revision=revision, tables=tables, left_out=LEFT_OUT)


def _dump_table(connection: Connection, form: Columns, into: BinaryIO) -> TableDump:
    start, rows, size, digest = into.tell(), 0, 0, hashlib.sha256()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=SPEED, fileobj=into, mtime=0) as packed:
        for count, lines in lines_of(connection, form):
            rows, size = rows + count, size + len(lines)
            digest.update(lines)
            packed.write(lines)
    return TableDump(
        **form.model_dump(), rows=rows, bytes=size, sha256=digest.hexdigest(), packed_bytes=into.tell() - start
    )
