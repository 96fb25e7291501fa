"""Run `proponent` as its users do: in a process of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from backend.core.artifacts import FOLDERS


def environment(home: Path) -> dict[str, str]:
    """One thread and one home, so that bytes can be compared."""
    return {**os.environ, "PROPONENT_HOME": str(home), "PROPONENT_THREADS": "1", "OMP_NUM_THREADS": "1"}


def proponent(home: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The finished command, with its stdout and stderr."""
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        env={**environment(home), "PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


TIMINGS = {"MANIFEST.json", "shard.json", "timings.json"}
"""Files that hold seconds, dates or memory beside the results."""

CACHES = (".i8.npy", ".scale.f32.npy")
"""Ends of the names of files that are made again when they are missing."""


def digests(home: Path) -> dict[str, str]:
    """Every artifact file of a home but caches and those with timings -> SHA-256."""
    return {
        path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in FOLDERS.values()
        for path in sorted((home / folder).rglob("*"))
        if path.is_file() and path.name not in TIMINGS and not path.name.endswith(CACHES)
    }
