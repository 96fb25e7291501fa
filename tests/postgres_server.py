"""A private PostgreSQL server for tests: in a folder of its own, on a unix socket only, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROLE = "proponent"


def find_binaries() -> Path | None:
    """The folder of the newest installed server's programs; None without one."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if folders:
        return max(folders, key=lambda folder: float(folder.parent.name))
    found = shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


@dataclass(frozen=True)
class Server:
    """A running server."""

    binaries: Path
    folder: Path

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs, as a user who is not root (initdb and postgres refuse root)."""
        drop_root = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        finished = subprocess.run(
            [*drop_root, str(self.binaries / program), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if finished.returncode != 0:
            raise RuntimeError(f"{program} failed: {finished.stdout}{finished.stderr}")

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database of this server."""
        return f"postgresql+psycopg://{ROLE}@/{database}?host={self.folder}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of an empty database, dropped afterwards."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.run("createdb", "-h", str(self.folder), "-U", ROLE, name)
        try:
            yield self.url(name)
        finally:
            self.run("dropdb", "-h", str(self.folder), "-U", ROLE, "--force", name)


@contextmanager
def running_server(binaries: Path) -> Iterator[Server]:
    """Start a server; stop it and delete its folder afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="proponent-pg-", dir="/tmp"))  # a socket's path must be short
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        server = Server(binaries, folder)
        data = str(folder / "data")
        server.run("initdb", "-D", data, "-A", "trust", "-U", ROLE, "-E", "UTF8", "--locale=C.UTF-8", "-N")
        settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        server.run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", settings, "start")
        try:
            yield server
        finally:
            server.run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)
