"""kill -9 at random moments of the (tiny) demonstration: run again, it ends with the bytes of an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.command import environment, proponent

TIMINGS = {"MANIFEST.json", "shard.json", "timings.json"}
"""Files that hold seconds, dates or memory beside the results."""


def digests(home: Path) -> dict[str, str]:
    """Every artifact file but those with timings -> SHA-256."""
    return {
        path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("corpora", "query_sets", "models", "outputs", "stores", "runs")
        for path in sorted((home / folder).rglob("*"))
        if path.is_file() and path.name not in TIMINGS
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[dict[str, str], float]:
    home = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    done = proponent(home, "demo", "--tiny", "--no-serve")
    assert done.returncode == 0, done.stderr
    return digests(home), time.monotonic() - started


@pytest.mark.parametrize("kills", [3, pytest.param(15, marks=pytest.mark.full)])
def test_killed_at_random_it_ends_with_the_same_bytes(undisturbed, tmp_path, kills):
    expected, seconds = undisturbed
    moments = random.Random(kills)
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", "demo", "--tiny", "--no-serve"],
            env=environment(tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )
        time.sleep(moments.uniform(0.3, 0.7) * seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = proponent(tmp_path, "demo", "--tiny", "--no-serve")
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path) == expected
    assert proponent(tmp_path, "verify").returncode == 0
    assert '"complete": true' in proponent(tmp_path, "status", "--json").stdout
