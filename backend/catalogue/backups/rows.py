"""Rows to lines and back, the same on every database."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Double,
    Integer,
    LargeBinary,
    Text,
    cast,
    collate,
    column,
    select,
    table,
    type_coerce,
)

from backend.catalogue.backups.layout import LONGEST_ROW, Columns, Kind
from backend.catalogue.base import UtcDateTime
from backend.core.errors import InputError

BATCH = 2_000
"""Rows that are read, written or hashed at once: bounds the memory."""

_TYPES: dict[Kind, Any] = {
    "boolean": Boolean(),
    "integer": Integer(),
    "float": Double(),
    "moment": UtcDateTime(),
    "json": Text(),
    "bytes": LargeBinary(),
    "text": Text(),
}
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False)
Row = tuple[Any, ...]


def read_rows(connection: Connection, form: Columns) -> Iterator[Sequence[Row]]:
    """A table's rows in the order of its key, in batches.

    JSON comes as the text that is stored. Negative zero comes as zero: SQLite does not tell them apart.
    """
    columns = [_selected(connection, name, kind) for name, kind in form.columns.items()]
    statement = select(*columns).select_from(table(form.name, *(column(name) for name in form.columns)))
    statement = statement.order_by(*(_ordered(connection, name, form.columns[name]) for name in form.key))
    result = connection.execute(statement.execution_options(stream_results=True))
    for rows in result.partitions(BATCH):
        yield [tuple(row) for row in rows]


def _selected(connection: Connection, name: str, kind: Kind) -> ColumnElement[Any]:
    given: ColumnElement[Any] = column(name, _TYPES[kind])
    if kind == "json":
        return cast(given, Text)
    if kind == "float" and connection.dialect.name != "sqlite":
        return type_coerce(given + 0.0, Double)
    return given


def _ordered(connection: Connection, name: str, kind: Kind) -> ColumnElement[Any]:
    given: ColumnElement[Any] = column(name, _TYPES[kind])
    by_bytes = kind == "text" and connection.dialect.name == "postgresql"
    return collate(given, "C") if by_bytes else given


def lines_of(connection: Connection, form: Columns) -> Iterator[tuple[int, bytes]]:
    """A table's dump in pieces: (rows, their lines)."""
    encode = encoder(form)
    for rows in read_rows(connection, form):
        lines = [encode(row) for row in rows]
        if longest := next((line for line in lines if len(line) > LONGEST_ROW), None):
            raise InputError(
                f"A row of {form.name} has {len(longest):,} bytes; a backup holds at most {LONGEST_ROW:,}."
            )
        yield len(lines), b"".join(lines)


def encoder(form: Columns) -> Callable[[Row], bytes]:
    """A function from a row of a table to its line."""
    changed = [(place, _TO_JSON[kind]) for place, kind in enumerate(form.kinds) if kind in _TO_JSON]
    floats = [place for place, kind in enumerate(form.kinds) if kind == "float"]
    encode = _encoder.encode

    def line(row: Row) -> bytes:
        values = list(row)
        for place, change in changed:
            if values[place] is not None:
                values[place] = change(values[place])
        try:
            return encode(values).encode() + b"\n"
        except ValueError:  # a number that JSON lacks; this is much rarer than numbers
            for place in floats:
                if values[place] is not None and not math.isfinite(values[place]):
                    values[place] = repr(values[place])
            return encode(values).encode() + b"\n"

    return line


_TO_JSON: dict[Kind, Callable[[Any], str]] = {
    "moment": lambda value: value.astimezone(UTC).isoformat(timespec="microseconds"),
    "bytes": lambda value: base64.b64encode(value).decode(),
}


def decoder(form: Columns) -> Callable[[bytes], Row]:
    """A function from a line to the row that it was made of; raises InputError for any other line."""
    changed = [(place, _FROM_JSON[kind]) for place, kind in enumerate(form.kinds) if kind in _FROM_JSON]
    allowed = [_ALLOWED[kind] for kind in form.kinds]
    known: set[tuple[type, ...]] = set()

    def row(line: bytes) -> Row:
        try:
            values = json.loads(line)
            if type(values) is not list:
                raise ValueError("not a list")
            types = tuple(map(type, values))
            if types not in known:
                if len(types) != len(allowed):
                    raise ValueError(f"{len(types)} values for {len(allowed)} columns")
                for place, (found, kinds) in enumerate(zip(types, allowed, strict=True)):
                    if found not in kinds:
                        raise ValueError(f"{found.__name__} as value {place + 1}")
                known.add(types)
            for place, change in changed:
                if values[place] is not None:
                    values[place] = change(values[place])
        except (ValueError, RecursionError, binascii.Error) as error:
            raise InputError(f"The backup is damaged: {form.name} has a row that is none ({error}).") from error
        return tuple(values)

    return row


def _moment(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return value.astimezone(UTC)


def _float(value: float | str) -> float:
    if isinstance(value, str) and value not in ("nan", "inf", "-inf"):
        raise ValueError(f"{value!r} as a number")
    return float(value)


_ALLOWED: dict[Kind, tuple[type, ...]] = {
    "boolean": (bool, type(None)),
    "integer": (int, type(None)),
    "float": (float, str, type(None)),
    "moment": (str, type(None)),
    "json": (str, type(None)),
    "bytes": (str, type(None)),
    "text": (str, type(None)),
}
_FROM_JSON: dict[Kind, Callable[[Any], Any]] = {
    "float": _float,
    "moment": _moment,
    "bytes": lambda value: base64.b64decode(value, validate=True),
}


def insert_rows(connection: Connection, form: Columns, rows: Iterable[Sequence[Row]]) -> None:
    """Write rows into a table, past its models: by COPY on PostgreSQL, by one prepared INSERT on SQLite."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    into = f"{quote(form.name)} ({', '.join(map(quote, form.columns))})"
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {into} FROM STDIN") as copy:
            for batch in rows:
                for row in batch:
                    copy.write_row(row)
        return
    places = ", ".join("?" * len(form.columns))
    moments = [place for place, kind in enumerate(form.kinds) if kind == "moment"]
    floats = [place for place, kind in enumerate(form.kinds) if kind == "float"]
    for batch in rows:
        if any(row[place] != row[place] for row in batch for place in floats):
            raise InputError(
                f"The backup holds NaN in {form.name}, which SQLite cannot store.",
                "Restore it into PostgreSQL: set PROPONENT_DATABASE_URL.",
            )
        stored = [_with_moments(row, moments) for row in batch] if moments else list(batch)
        connection.exec_driver_sql(f"INSERT INTO {into} VALUES ({places})", stored)  # noqa: S608


def _with_moments(row: Row, moments: Sequence[int]) -> Row:
    """A row as SQLAlchemy would have stored it in SQLite: moments are texts in UTC, without their zone."""
    values = list(row)
    for place in moments:
        if values[place] is not None:
            values[place] = values[place].replace(tzinfo=None).isoformat(" ", "microseconds")
    return tuple(values)
