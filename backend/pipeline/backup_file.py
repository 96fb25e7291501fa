"""The file of a backup: a tar archive whose first member says exactly which others follow, in which order.

    backup.json                       the manifest: a ``Backup``
    home/<path>                       files of artifacts, under their path below the home
    catalogue/[<home>/]<table>.jsonl.gz   a table's rows (``backend.catalogue.backups``)

Readers believe nothing: a member that is not the next one of the manifest, is no plain file, or has another size or
SHA-256 ends the reading.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, BinaryIO, Literal, cast

from pydantic import AfterValidator, Field, ValidationError, model_validator

from backend.catalogue.backups.layout import CatalogueDump, Part, Sha256, TableDump
from backend.core.artifacts import FOLDERS
from backend.core.errors import InputError

FORMAT: Literal[1] = 1
MANIFEST = "backup.json"
LARGEST_MANIFEST = 1 << 26
PIECE = 1 << 20
NESTED = {
    "": frozenset(FOLDERS),
    "experiments": frozenset(FOLDERS),
    "experiments/checkpoints": {"model", "measurement"},
}
"""Homes in a home, and the kinds of artifacts in them that last."""

SMALL_FILES = frozenset({"demonstration.json"})
"""Files beside the artifacts' folders that are part of a home."""

MOST_EXPANSION = 1_100
"""Bytes that a byte of gzip can become, and a little more."""

DAMAGED = "Use another backup; `proponent backup` makes one."


def _inside_a_home(name: str) -> str:
    """A path below a home that an artifact's or a small file can have; raises ValueError for any other."""
    parts = name.split("/")
    if "\\" in name or not name.isprintable() or {"", ".", ".."} & set(parts):
        raise ValueError("not a path below a home")
    if name in SMALL_FILES:
        return name
    for folder, kinds in NESTED.items():
        below = parts[len(PurePosixPath(folder).parts) :]
        nested = "/".join(parts[: len(parts) - len(below)]) == folder
        if nested and len(below) > 2 and below[0] in {FOLDERS[kind] for kind in kinds}:
            return name
    raise ValueError("not a path of an artifact")


class HomeFile(Part):
    """A file of a home."""

    name: Annotated[str, AfterValidator(_inside_a_home)]
    bytes: int = Field(ge=0)
    sha256: Sha256


class Backup(Part):
    """A backup's manifest."""

    format: Literal[1]
    proponent: str
    """Version that made it."""
    created_at: str
    catalogue_only: bool
    artifacts: int
    files: list[HomeFile]
    catalogues: list[CatalogueDump]
    """The home's own is the last one."""

    @model_validator(mode="after")
    def _is_sound(self) -> Backup:
        if self.catalogue_only and self.files:
            raise ValueError("a backup of the catalogue only has files")
        if len({file.name for file in self.files}) != len(self.files):
            raise ValueError("a file is named twice")
        folders = [dump.folder for dump in self.catalogues]
        if folders not in ([""], ["experiments", ""]):
            raise ValueError("catalogues of unknown homes")
        if any(table.bytes > MOST_EXPANSION * table.packed_bytes for table in self.tables()):
            raise ValueError("a table is larger than its bytes can hold")
        return self

    def tables(self) -> Iterator[TableDump]:
        """The tables of all catalogues."""
        for dump in self.catalogues:
            yield from dump.tables

    @property
    def bytes(self) -> int:
        """Of all members but the manifest."""
        return sum(file.bytes for file in self.files) + sum(table.packed_bytes for table in self.tables())


def table_member(folder: str, table: str) -> str:
    """Name of the member that holds a table's rows."""
    return str(PurePosixPath("catalogue", folder, f"{table}.jsonl.gz"))


def add_member(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    """Append a plain file to an archive."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    tar.addfile(member, content)


class BackupReader:
    """Reads a backup's members in their order."""

    def __init__(self, tar: tarfile.TarFile, size: int) -> None:
        self._tar = tar
        first = self._next(MANIFEST, None)
        if first.size > LARGEST_MANIFEST:
            raise InputError(f"The backup's manifest claims {first.size:,} bytes.", DAMAGED)
        text = self._content(first).read()
        try:
            self.backup = Backup.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, problem["loc"])) or "its whole"
            raise InputError(f"The backup's manifest is not sound ({where}: {problem['msg']}).", DAMAGED) from error
        if self.backup.bytes > size:
            raise InputError("The file is shorter than its manifest states: it was cut.", DAMAGED)

    def extract_files(self, root: Path) -> None:
        """Write the files of the home below a folder; raises InputError for bytes that are not the manifest's."""
        for file in self.backup.files:
            content = self._content(self._next(f"home/{file.name}", file.bytes))
            path = root / file.name
            digest = hashlib.sha256()
            with _made(path, file.name) as stream:
                while piece := content.read(PIECE):
                    digest.update(piece)
                    stream.write(piece)
            if digest.hexdigest() != file.sha256:
                raise InputError(f"The backup is damaged: {file.name} does not have its SHA-256.", DAMAGED)

    @contextmanager
    def table(self, folder: str, table: TableDump) -> Iterator[IO[bytes]]:
        """The lines of the next table, unpacked as they are read."""
        member = self._next(table_member(folder, table.name), table.packed_bytes)
        with gzip.GzipFile(fileobj=self._content(member), mode="rb") as lines:
            yield cast("IO[bytes]", lines)

    def end(self) -> None:
        """Raise InputError where anything follows the last member."""
        if (member := self._tar.next()) is not None:
            raise InputError(f"The backup holds {member.name!r}, which its manifest does not name.", DAMAGED)

    def _next(self, name: str, size: int | None) -> tarfile.TarInfo:
        member = self._tar.next()
        if member is None:
            raise InputError(f"The file is no whole backup: {name} is missing.", DAMAGED)
        plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None
        if member.name != name or not plain or size not in (None, member.size):
            raise InputError(f"The backup holds {member.name!r} where {name} should be.", DAMAGED)
        self._tar.members = []  # type: ignore[attr-defined]  # or it would keep every one
        return member

    def _content(self, member: tarfile.TarInfo) -> IO[bytes]:
        content = self._tar.extractfile(member)
        assert content is not None, "plain files have content"
        return content


@contextmanager
def open_backup(path: Path) -> Iterator[BackupReader]:
    """Read a backup; what is no archive, or one that ends early, raises InputError."""
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.", "Give one that `proponent backup` has written.") from error
    with stream:
        try:
            with tarfile.open(fileobj=_Careful(stream), mode="r:", errors="surrogateescape") as tar:
                yield BackupReader(tar, path.stat().st_size)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path} is no whole backup ({error}).", DAMAGED) from error


def _made(path: Path, name: str) -> BinaryIO:
    """A new file below folders that are made for it; raises InputError where no file can have its name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")
    except (FileExistsError, NotADirectoryError, UnicodeError) as error:
        raise InputError(f"The backup holds {name!r}, which no file can be called here.", DAMAGED) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InputError(f"The backup holds {name[:60]!r}..., a name that is too long.", DAMAGED) from error


class _Careful(io.RawIOBase):
    """A file from which no header can make the archive's reader ask for much at once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_MANIFEST:
            raise tarfile.ReadError(f"a member asks for {size} bytes at once")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
