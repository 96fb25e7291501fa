"""kill -9 at random moments of the (tiny) demonstration: run again, it ends with an undisturbed run's bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import digests, environment, proponent


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.full)])
def test_killed_at_random_it_ends_with_the_same_bytes(tiny_demo, tmp_path, kills):
    moments = random.Random(kills)
    process = None
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", "demo", "--tiny", "--no-serve"],
            env=environment(tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )
        time.sleep(moments.uniform(1, 12))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = proponent(tmp_path, "demo", "--tiny", "--no-serve")
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path) == digests(tiny_demo)
    assert proponent(tmp_path, "verify").returncode == 0
    assert '"complete": true' in proponent(tmp_path, "status", "--json").stdout
