"""A read session for each request; an empty catalogue while there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from app.http.errors import Problem
from app.http.viewers import viewer_of
from backend.accounts.roles import Role
from backend.catalogue.database import (
    CatalogueError,
    clear_errors,
    content_version,
    open_catalogue,
    read_session,
    sqlite_module,
    write_session,
)
from backend.catalogue.models import Base
from backend.catalogue.search import SQLITE_INDEX
from backend.catalogue.withheld import SEES_WITHHELD
from backend.settings import Settings

WRITE_BUSY_MILLISECONDS = 5_000
"""How long a request waits for another process's write."""

WRITERS, WRITER_SECONDS = 4, 2.0
"""Requests that write at a time, and how long another one waits for its turn."""


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
        self._content: tuple[object | None, object | None] = None, None
        self._watcher: Any = None
        self._lock = Lock()
        self._writers = BoundedSemaphore(WRITERS)

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

    def write(self, *, shown: bool) -> AbstractContextManager[Session]:
        """A session in one write transaction (``write_session``); raises a 503 Problem while there is no catalogue."""
        if not self.found or self._engine is None:
            raise Problem(
                503,
                "Nothing here yet",
                "This installation holds no corpus and no model yet; `proponent demo` makes them.",
                headers={"Retry-After": "60"},
            )
        return self._write(self._engine, shown)

    @contextmanager
    def _write(self, engine: Engine, shown: bool) -> Iterator[Session]:
        """Few requests write at a time: where another process holds the lock, the others go on reading meanwhile."""
        if not self._writers.acquire(timeout=WRITER_SECONDS):
            raise CatalogueError("Too many requests wait to write to the catalogue.", "Try again in a moment.")
        try:
            with write_session(engine, WRITE_BUSY_MILLISECONDS, shown=shown) as session:
                yield session
        finally:
            self._writers.release()

    async def generation(self) -> object | None:
        """A value that is another one after every write to the catalogue, by any process; None without one.

        SQLite tells in microseconds by its data version, which belongs to one connection; PostgreSQL by its
        snapshot, in a thread since it is asked over a socket.
        """
        if not self.found or self._engine is None:
            return None
        if self._file is None:
            return await run_in_threadpool(self._snapshot, self._engine)
        try:
            return self._seen, self._data_version(self._engine)
        except sqlite_module().Error:
            return None

    async def content_generation(self) -> object | None:
        """A value that is another one after every write to what pages show; None without a catalogue."""
        if not self.found or self._engine is None:
            return None
        if self._file is None:
            return await run_in_threadpool(self._content_version, self._engine)
        generation = await self.generation()
        if generation is None or generation != self._content[0]:
            version = await run_in_threadpool(self._content_version, self._engine)
            self._content = generation, None if version is None else (self._seen, version)
        return self._content[1]

    @staticmethod
    def _content_version(engine: Engine) -> int | None:
        try:
            with engine.connect() as connection:
                return content_version(connection)
        except DatabaseError:
            return None

    @staticmethod
    def _snapshot(engine: Engine) -> str | None:
        try:
            with engine.connect() as connection:
                return str(connection.scalar(text("SELECT pg_current_snapshot()")))
        except DatabaseError:
            return None

    def _data_version(self, engine: Engine) -> int:
        with self._lock:
            if self._watcher is None:
                self._watcher = sqlite_module().connect(str(self._file), check_same_thread=False)
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Give back all connections."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
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


def catalogue_of(request: Request) -> Catalogue:
    """The catalogue that a request's application reads and writes."""
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


def open_session(request: Request) -> Iterator[Session]:
    """Dependency: the session that a request reads with."""
    with catalogue_of(request).read() as session:
        mark(request, session)
        yield session


def mark(request: Request, session: Session) -> None:
    """Let those see the texts of private sources who may."""
    session.info[SEES_WITHHELD] = viewer_of(request.scope).may(Role.ANNOTATOR)


@contextmanager
def read_while_streaming(request: Request) -> Iterator[Session]:
    """A session for a response's body, which is sent after the request's own session has ended."""
    with catalogue_of(request).read() as session:
        mark(request, session)
        yield session


ReadSession = Annotated[Session, Depends(open_session, scope="function")]
