"""A read session for each request; an empty catalogue while there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import Engine, create_engine, event, inspect, make_url
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from backend.catalogue.database import clear_errors, open_catalogue, read_session
from backend.catalogue.models import Base
from backend.catalogue.search import SQLITE_INDEX
from backend.settings import Settings


class Catalogue:
    """The catalogue's engine, opened when the catalogue is there.

    Until then pages read an empty one in memory: the server may start before the first command that fills it,
    and must not make a database file by looking.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        url = make_url(settings.catalogue_url)
        self._file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
        self._engine: Engine | None = None
        self._found = False
        self._seen: tuple[int, int] | None = None
        self._lock = Lock()

    @property
    def found(self) -> bool:
        """True once the catalogue is there and has its tables."""
        with self._lock:
            if self._identity() != self._seen:
                self.close()
                self._engine, self._found, self._seen = None, False, None
            if not self._found:
                self._found = self._look()
        return self._found

    def _identity(self) -> tuple[int, int] | None:
        """Which file the catalogue is, so that one put in its place is noticed; None for a server's database."""
        if self._file is None:
            return None
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def read(self) -> AbstractContextManager[Session]:
        """A session in one read transaction."""
        if self.found and self._engine is not None:
            return read_session(self._engine)
        return Session(_empty_engine())

    def close(self) -> None:
        """Give back all connections."""
        if self._engine is not None:
            self._engine.dispose()

    def _look(self) -> bool:
        if self._engine is None:
            if self._file is not None and not self._file.exists():
                return False
            self._engine, self._seen = open_catalogue(self._settings), self._identity()
        with clear_errors(self._engine):
            names = set(inspect(self._engine).get_table_names())
        return set(Base.metadata.tables) <= names


@lru_cache(maxsize=1)
def _empty_engine() -> Engine:
    """A catalogue without rows: each connection builds its own in memory (about a millisecond)."""
    engine = create_engine("sqlite://", poolclass=NullPool)
    schema = [str(CreateTable(table).compile(engine)) for table in Base.metadata.sorted_tables]
    schema += SQLITE_INDEX

    @event.listens_for(engine, "connect")
    def build(connection: Any, _record: object) -> None:
        for statement in schema:
            connection.execute(statement)

    return engine


def open_session(request: Request) -> Iterator[Session]:
    """Dependency: the session that a request reads with."""
    catalogue: Catalogue = request.app.state.catalogue
    with catalogue.read() as session:
        yield session


ReadSession = Annotated[Session, Depends(open_session, scope="function")]
