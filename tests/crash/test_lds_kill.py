"""kill -9 of `evaluate lds` with trainings in processes beside it: they end too, and run again it ends the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from backend.core.artifacts import MANIFEST
from tests.command import digests, environment, proponent

COMMAND = ("evaluate", "lds", "--passages", "120", "--queries", "8", "--epochs", "4", "--subsets", "8")
METHODS = ("--method", "trackstar", "--method", "bm25", "--json")
WAIT = 120.0


def trainings(home: Path) -> int:
    return len(list((home / "experiments" / "retrainings").glob(f"*/{MANIFEST}")))


def wait_until(true: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(true)
    end = time.monotonic() + WAIT
    while not true() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.full
def test_killed_while_it_trains_it_ends_with_the_same_numbers(tiny_demo: Path, tmp_path: Path) -> None:
    quiet, home = (shutil.copytree(tiny_demo, tmp_path / name) for name in ("quiet", "home"))
    expected = proponent(quiet, *COMMAND, *METHODS)
    assert expected.returncode == 0, expected.stderr
    moments, interrupted = random.Random(5), 0
    for kill in range(5):
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", *COMMAND, *METHODS],
            env={**environment(home), "PROPONENT_THREADS": "2"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )
        wait_until(lambda wanted=2 * kill + 1: trainings(home) >= wanted, process)
        time.sleep(moments.uniform(0, 0.5))
        beside = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        interrupted += process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert psutil.wait_procs(beside, timeout=WAIT)[1] == [], "no training goes on without its command"
    assert interrupted >= 3
    done = proponent(home, *COMMAND, *METHODS)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(expected.stdout)
    made = [
        {name: digest for name, digest in digests(root / "experiments").items() if name.startswith("retrainings")}
        for root in (home, quiet)
    ]
    assert len(made[0]) == 32
    assert made[0] == made[1], "whatever number of processes trained them"
    assert proponent(home / "experiments", "verify").returncode == 0
