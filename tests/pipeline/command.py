"""Run `proponent` as its users do: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def environment(home: Path) -> dict[str, str]:
    """One thread and one home, so that bytes can be compared."""
    return {**os.environ, "PROPONENT_HOME": str(home), "PROPONENT_THREADS": "1", "OMP_NUM_THREADS": "1"}


def proponent(home: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The finished command, with its stdout and stderr."""
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        env={**environment(home), "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
