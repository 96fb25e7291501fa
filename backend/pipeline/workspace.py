"""Where a pipeline works: the home, its catalogue, and models, stores and corpora that are open in this process."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Self

from sqlalchemy import Engine

from backend.catalogue.database import migrate, open_catalogue, write_session
from backend.catalogue.loading import LOADERS, load_home
from backend.catalogue.stages import StageLog
from backend.core.artifacts import Home, read_manifest
from backend.core.errors import UserError
from backend.core.records import Passage, Query
from backend.pipeline.reporting import Reporter
from backend.pipeline.viewer_artifacts import is_imported, load_imported_queries
from backend.settings import Settings


def lock_home(home: Home) -> IO[str]:
    """Hold the home for one writing process; raises UserError while another works in it.

    The operating system gives the lock free when the process ends, however it ends.
    """
    stream = (home.root / "pipeline.lock").open("a+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        owner = stream.read().strip()
        stream.close()
        raise UserError(
            f"Another proponent command (process {owner or 'unknown'}) is working in {home.root}.",
            "Wait until it is done, or stop it; or choose another home with --home.",
        ) from None
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return stream


class Workspace:
    """The surroundings of stages. Artifacts are immutable, so what was read once is kept."""

    def __init__(self, settings: Settings, pipeline: str) -> None:
        self.settings = settings
        self.home = Home(settings.home.absolute())
        try:
            self.home.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The home {self.home.root} cannot be made ({error.strerror}).", "Give another with --home."
            ) from error
        self._lock = lock_home(self.home)
        self.engine: Engine = open_catalogue(settings)
        migrate(self.engine)
        # What a kill left between an artifact's end and the catalogue, or all of it where the database was lost.
        load_home(self.engine, self.home)
        self.reporter = Reporter(StageLog(self.engine), pipeline)
        self.passages = lru_cache(maxsize=2)(self._passages)
        self.queries = lru_cache(maxsize=8)(self._queries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give the home free for other commands."""
        self.engine.dispose()
        self._lock.close()

    @property
    def threads(self) -> int:
        """Threads for numerical work."""
        return self.settings.threads or len(os.sched_getaffinity(0))

    def require_disk(self, needed: int) -> None:
        """Raise UserError unless the home's disk has room for so many bytes."""
        free = shutil.disk_usage(self.home.root).free
        if needed > free:
            raise UserError(
                f"This needs about {needed / 1e6:,.0f} MB on disk; {self.home.root} has {free / 1e6:,.0f} MB free.",
                "Free some space, or choose another home with --home.",
            )

    def catalogue(self, kind: str, artifact_id: str) -> None:
        """Load a finished artifact into the catalogue, in one transaction; a no-op where it is loaded."""
        with write_session(self.engine) as session:
            LOADERS[kind](session, self.folder(kind, artifact_id))

    def folder(self, kind: str, artifact_id: str) -> Path:
        """Folder of a finished artifact."""
        return self.home.find(kind, artifact_id)

    def newest(self, kind: str, remedy: str) -> str:
        """Id of the newest finished artifact of a kind; raises UserError with the remedy where there is none.

        What was imported from a viewer's file is passed over: a corpus of it holds only passages that some list names.
        """
        finished = self.home.finished(kind)
        own = [
            artifact_id for artifact_id in finished if not is_imported(read_manifest(self.folder(kind, artifact_id)))
        ]
        if not own:
            beside = " but those that came with imported lists" if finished else ""
            raise UserError(f"There is no {kind} in {self.home.root} yet{beside}.", remedy)
        return own[-1]

    def _passages(self, corpus_id: str) -> Sequence[Passage]:
        from backend.corpora.artifact import load_passages

        return load_passages(self.home, corpus_id)

    def _queries(self, query_set_id: str) -> Sequence[Query]:
        from backend.corpora.artifact import load_queries

        if is_imported(read_manifest(self.folder("queries", query_set_id))):
            return load_imported_queries(self.home, query_set_id)
        return load_queries(self.home, query_set_id)
