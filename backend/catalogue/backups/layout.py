"""What a dump of the catalogue consists of: tables in the order of their references, columns of seven kinds.

A table's dump is JSON lines, a row each: the columns' values as a list, rows in the order of the primary key (texts by
their UTF-8 bytes), so that equal tables give equal bytes on every database, and their SHA-256 says that they are equal.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import JSON, Boolean, DateTime, Float, Integer, LargeBinary, String, Table, TypeDecorator
from sqlalchemy.types import TypeEngine

from backend.catalogue.models import Base
from backend.core.errors import InputError

LEFT_OUT = {
    "sessions": "whoever holds a backup's file must not be signed in by it",
    "workers": "they are processes that have ended by the time of a restore",
}
"""Tables whose rows are in no backup, and why."""

LONGEST_ROW = 1 << 26
"""Bytes of a row's line at most: bounds the memory that a dump can ask for."""

Kind = Literal["boolean", "integer", "float", "moment", "json", "bytes", "text"]

_KINDS: tuple[tuple[type[TypeEngine[Any]], Kind], ...] = (
    (Boolean, "boolean"),
    (Integer, "integer"),
    (Float, "float"),
    (DateTime, "moment"),
    (JSON, "json"),
    (LargeBinary, "bytes"),
    (String, "text"),
)


def _plain(name: str) -> str:
    if not re.fullmatch("[a-z_][a-z0-9_]*", name):
        raise ValueError("not a name of a table or column")
    return name


Name = Annotated[str, AfterValidator(_plain)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Part(BaseModel):
    """A part of a backup's manifest: exactly its fields, of exactly their types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Columns(Part):
    """A table's name, its columns with their kinds, and the columns of its primary key."""

    name: Name
    columns: dict[Name, Kind]
    key: list[Name]

    @property
    def kinds(self) -> list[Kind]:
        """The kinds in the order of the columns."""
        return list(self.columns.values())


class TableDump(Columns):
    """A table in a dump: its form, and what its rows come to."""

    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    """Of its lines."""
    sha256: Sha256
    """Of its lines."""
    packed_bytes: int = Field(ge=0)
    """Of its lines, compressed by gzip."""


class CatalogueDump(Part):
    """A catalogue in a backup."""

    folder: str
    """The home that it belongs to, below the one that was backed up; empty for that itself."""
    revision: str
    """Alembic's, of the schema that the tables have."""
    tables: list[TableDump]
    left_out: dict[str, str]
    """Tables that are there without their rows, and why."""


def dumped_tables() -> list[Columns]:
    """Every table whose rows are dumped, each after those that it refers to."""
    return [_columns(table) for table in Base.metadata.sorted_tables if table.name not in LEFT_OUT]


def _columns(table: Table) -> Columns:
    return Columns(
        name=table.name,
        columns={column.name: kind_of(column.type, table.name) for column in table.columns},
        key=[column.name for column in table.primary_key],
    )


def kind_of(type_: TypeEngine[Any], table: str) -> Kind:
    """The kind of a column by its type; raises InputError for a type that no table of ours has."""
    plain = type_.impl_instance if isinstance(type_, TypeDecorator) else type_
    for known, kind in _KINDS:
        if isinstance(plain, known):
            return kind
    raise InputError(f"The table {table} has a column of type {plain!r}, which no backup can hold.")
