"""Making a home and its catalogue out of a backup: `proponent restore`.

All is made beside its place and moved there when it is whole and checked.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, make_url

from backend.catalogue.backups.fill import Filling, require_known
from backend.catalogue.backups.layout import CatalogueDump
from backend.catalogue.database import clear_errors, exclusive, open_catalogue
from backend.core.errors import UserError
from backend.core.files import sync_folder
from backend.jobs.queue import put_back_all
from backend.pipeline.backing_up import CATALOGUE
from backend.pipeline.backup_file import Backup, BackupReader, open_backup
from backend.settings import Settings


def restore(settings: Settings, path: Path) -> dict[str, Any]:
    """Restore a backup; ``{"home", "catalogue", "artifacts", "rows", "put_back", "made_by", "made_at", "seconds"}``.

    Raises UserError where home or database hold something, or the file is not exactly what `proponent backup` wrote.
    """
    started = time.monotonic()
    with open_backup(path) as reader:
        backup = reader.backup
        for dump in backup.catalogues:
            require_known(dump)
        place = _Place(settings, backup)
        put_back = place.fill(reader)
    return {
        "home": str(place.home),
        "catalogue": place.shown,
        "artifacts": backup.artifacts,
        "rows": sum(table.rows for table in backup.tables()),
        "put_back": put_back,
        "made_by": backup.proponent,
        "made_at": backup.created_at,
        "seconds": round(time.monotonic() - started, 1),
    }


MARK = "restoring"
"""A file in the folder in which a restore works: it is ours to remove."""


class _Place:
    """Where a backup goes: the home's folder, and a SQLite file in it or elsewhere or a PostgreSQL database."""

    def __init__(self, settings: Settings, backup: Backup) -> None:
        self.backup = backup
        self.home = settings.home.absolute()
        self.url = make_url(settings.catalogue_url)
        self.shown = self.url.render_as_string(hide_password=True)
        self.file = Path(self.url.database or "").absolute() if self.url.get_backend_name() == "sqlite" else None
        self._require_free()
        inside = self.home.is_dir() and (self.home.is_mount() or not os.access(self.home.parent, os.W_OK))
        self.inside = inside or (backup.catalogue_only and self.home.is_dir())
        name = f"{self.home.name}.restoring"
        self.made = self.home / f".{name}" if self.inside else self.home.with_name(name)
        """The folder in which all is made."""

    def fill(self, reader: BackupReader) -> int:
        """Make everything and move it to its place; returns how many jobs were put back into the queue."""
        self._clear()
        try:
            self.made.mkdir(parents=True)
            (self.made / MARK).touch()
            self._require_room()
            reader.extract_files(self.made)
            *nested, own = self.backup.catalogues
            for dump in nested:
                made = self.made / dump.folder / CATALOGUE
                with _opened(f"sqlite:///{made}") as engine, _filled(engine, reader, dump) as connection:
                    put_back_all(connection)
            if self.file is None:
                return self._fill_server(reader, own)
            with _opened(f"sqlite:///{self.made / CATALOGUE}") as engine, _filled(engine, reader, own) as connection:
                put_back = put_back_all(connection)
                reader.end()
            self._move()
            return put_back
        finally:
            if (self.made / MARK).exists():
                shutil.rmtree(self.made, ignore_errors=True)

    def _clear(self) -> None:
        """Remove what a restore that was killed has left; raises UserError for a folder that is none of ours."""
        if not os.path.lexists(self.made):
            return
        if any(self.made.iterdir()) and not (self.made / MARK).is_file():
            raise UserError(f"{self.made} is in the way, and no restore has left it there.", "Move it away.")
        shutil.rmtree(self.made)

    def _fill_server(self, reader: BackupReader, dump: CatalogueDump) -> int:
        """Fill a PostgreSQL database; the files are moved as the last thing before it commits."""
        moved = False
        try:
            url = self.url.render_as_string(hide_password=False)
            with _opened(url) as engine, _filled(engine, reader, dump) as connection:
                put_back = put_back_all(connection)
                reader.end()
                self._move()
                moved = True
        except BaseException:
            if moved and not self.inside:
                self.home.replace(self.made)
                (self.made / MARK).touch()
            raise
        return put_back

    def _require_free(self) -> None:
        if self.file is not None and self.file.exists():
            raise UserError(f"There is a catalogue already: {self.file}.", "Move it away, or give another --home.")
        if self.backup.catalogue_only or not os.path.lexists(self.home):
            return
        if not self.home.is_dir() or any(self.home.iterdir()):
            raise UserError(
                f"The home {self.home} is not empty.",
                "Give one that does not exist yet with --home, or move what is there away.",
            )

    def _require_room(self) -> None:
        needed = sum(file.bytes for file in self.backup.files)
        if self.file is not None:
            needed += 2 * sum(table.bytes for table in self.backup.tables())
        free = shutil.disk_usage(self.made).free
        if needed > free:
            raise UserError(
                f"The backup needs about {needed / 1e6:,.0f} MB; {self.made.parent} has {free / 1e6:,.0f} MB free.",
                "Free some space, or choose another home with --home.",
            )

    def _move(self) -> None:
        """Put what was made into its place, by renames."""
        if self.file is not None and self.file != self.home / CATALOGUE:
            beside = self.file.with_name(f"{self.file.name}.restoring")
            beside.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self.made / CATALOGUE, beside)  # which copies, where it is another disk
            beside.replace(self.file)
        (self.made / MARK).unlink()
        if not self.inside:
            self.made.replace(self.home)
            sync_folder(self.home.parent)
            return
        # A mounted folder cannot be renamed. The catalogue first: with it, `proponent verify` says what is missing.
        for path in sorted(self.made.iterdir(), key=lambda path: path.name != CATALOGUE):
            path.replace(self.home / path.name)
        sync_folder(self.home)


@contextmanager
def _opened(url: str) -> Iterator[Engine]:
    engine = open_catalogue(url)
    try:
        yield engine
    finally:
        engine.dispose()  # the last connection to a SQLite file takes its log into it


@contextmanager
def _filled(engine: Engine, reader: BackupReader, dump: CatalogueDump) -> Iterator[Connection]:
    """An empty database filled from a dump; it is there for good at the end of the block."""
    with clear_errors(engine), exclusive(engine) as connection:
        filling = Filling(connection, dump)
        for table in dump.tables:
            with reader.table(dump.folder, table) as lines:
                filling.take(table, lines)
        filling.finish()
        yield connection
