"""Writing a backup while server, workers and commands go on: `proponent backup`.

The catalogue's snapshot comes first and the list of artifacts after it: artifacts are only ever added, so whatever the
snapshot refers to is on the list.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from sqlalchemy import Engine

from backend.catalogue.backups.dump import dump_catalogue, snapshot
from backend.catalogue.backups.layout import CatalogueDump
from backend.catalogue.database import migrate, open_catalogue
from backend.core.artifacts import FOLDERS, Home, library_versions, read_manifest
from backend.core.artifacts import MANIFEST as ARTIFACT_MANIFEST
from backend.core.errors import CorruptArtifact, UserError
from backend.core.files import atomic_file, sha256_of
from backend.pipeline.backup_file import (
    FORMAT,
    MANIFEST,
    NESTED,
    SMALL_FILES,
    Backup,
    HomeFile,
    add_member,
    table_member,
)
from backend.pipeline.experiments import FOLDER as EXPERIMENTS

CATALOGUE = "proponent.db"


def back_up(engine: Engine, home: Home, path: Path, *, catalogue_only: bool = False, force: bool = False) -> Any:
    """Write a home and its catalogue into one file, which appears when it is whole.

    Returns ``{"file", "bytes", "artifacts", "rows", "seconds"}``. Raises UserError where the file exists and may not
    be replaced, where the disk is full, and CorruptArtifact where an artifact's bytes are not those of its manifest.
    """
    started = time.monotonic()
    if path.exists() and not (force and path.is_file()):
        raise UserError(f"{path} exists.", "Give another name, or --force to replace it.")
    with ExitStack() as open_engines, atomic_file(path) as stream:
        os.fchmod(stream.fileno(), 0o600)  # it holds the hashes of passwords, and texts of private sources
        with tempfile.TemporaryFile(dir=path.parent) as dumps:
            catalogues = []
            for folder, opened in _catalogues(engine, home, catalogue_only, open_engines):
                with snapshot(opened) as connection:
                    catalogues.append(dump_catalogue(connection, folder, dumps))
            files = [] if catalogue_only else list(_files(home))
            backup = Backup(
                format=FORMAT,
                proponent=library_versions().get("proponent", ""),
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                catalogue_only=catalogue_only,
                artifacts=sum(file.name.endswith(f"/{ARTIFACT_MANIFEST}") for file in files),
                files=files,
                catalogues=catalogues,
            )
            _write(stream, home, backup, dumps)
    rows = sum(table.rows for table in backup.tables())
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "artifacts": backup.artifacts,
        "rows": rows,
        "seconds": round(time.monotonic() - started, 1),
    }


def _catalogues(
    engine: Engine, home: Home, catalogue_only: bool, open_engines: ExitStack
) -> Iterator[tuple[str, Engine]]:
    """The catalogues to dump: the experiments' own, which holds nothing but an index, then the home's."""
    path = home.root / EXPERIMENTS / CATALOGUE
    if not catalogue_only and path.exists():
        experiments = open_catalogue(f"sqlite:///{path}")
        open_engines.callback(experiments.dispose)
        migrate(experiments)
        yield EXPERIMENTS, experiments
    yield "", engine


def _files(home: Home) -> Iterator[HomeFile]:
    """The files of every finished artifact, as their manifests name them, and the small files beside them."""
    for name in sorted(SMALL_FILES):
        if (path := home.root / name).is_file():
            yield _measured(home, path)
    for folder, kinds in NESTED.items():
        for kind in sorted(kinds):
            for manifest in sorted((home.root / folder / FOLDERS[kind]).glob(f"*/{ARTIFACT_MANIFEST}")):
                yield from _artifact_files(home, manifest)


def _artifact_files(home: Home, manifest: Path) -> Iterator[HomeFile]:
    for name, stated in read_manifest(manifest.parent).files.items():
        where = (manifest.parent / name).relative_to(home.root).as_posix()
        yield HomeFile(name=where, bytes=stated["bytes"], sha256=stated["sha256"])
    yield _measured(home, manifest)


def _measured(home: Home, path: Path) -> HomeFile:
    name = path.relative_to(home.root).as_posix()
    return HomeFile(name=name, bytes=path.stat().st_size, sha256=sha256_of(path))


def _write(stream: IO[bytes], home: Home, backup: Backup, dumps: IO[bytes]) -> None:
    with tarfile.open(fileobj=stream, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        text = backup.model_dump_json().encode()
        add_member(tar, MANIFEST, len(text), io.BytesIO(text))
        for file in backup.files:
            _copy(tar, home, file)
        dumps.seek(0)
        for dump in backup.catalogues:
            _write_tables(tar, dump, dumps)


def _copy(tar: tarfile.TarFile, home: Home, file: HomeFile) -> None:
    """Append a file; raises CorruptArtifact where its bytes are not those of its artifact's manifest."""
    path = home.root / file.name
    remedy = "`proponent verify` says what else is; --catalogue-only makes a backup without artifacts."
    try:
        if path.stat().st_size != file.bytes:
            raise CorruptArtifact(f"{path} is damaged: it does not have {file.bytes:,} bytes.", remedy)
        with path.open("rb") as source:
            hashing = _Hashing(source)
            add_member(tar, f"home/{file.name}", file.bytes, cast("IO[bytes]", hashing))
    except FileNotFoundError as error:
        raise CorruptArtifact(f"{path} is missing.", remedy) from error
    if hashing.digest.hexdigest() != file.sha256:
        raise CorruptArtifact(f"{path} is damaged: it does not have the SHA-256 of its manifest.", remedy)


def _write_tables(tar: tarfile.TarFile, dump: CatalogueDump, dumps: IO[bytes]) -> None:
    for table in dump.tables:
        add_member(tar, table_member(dump.folder, table.name), table.packed_bytes, dumps)


class _Hashing(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.digest = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self.digest.update(piece)
        return piece
