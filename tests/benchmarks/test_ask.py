"""The benchmarks of asking run from nothing and print what they promise."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.full
ROOT = Path(__file__).parents[2]


def printed(script: str, *arguments: str, arguments_only: bool = False) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}", *([] if arguments_only else ["--json"]), *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/tmp", "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    value: dict[str, float] = json.loads(done.stdout)
    return value


@pytest.fixture
def home(tiny_demo: Path, tmp_path: Path) -> Path:
    """A copy of the tiny demonstration's home."""
    return Path(shutil.copytree(tiny_demo, tmp_path / "home"))


def test_asking(home: Path) -> None:
    value = printed("ask.py", "--home", str(home), "--questions", "8")
    assert value["question_per_lower_bound"] > 0.5
    assert value["enqueue_to_start_ms"] > 0


@pytest.mark.full
def test_asking_from_nothing() -> None:
    value = printed("ask.py", "--questions", "20")
    assert value["passages"] > 10_000
    assert value["question_per_lower_bound"] > 0.5


def test_reading_while_a_worker_scores(home: Path) -> None:
    value = printed("reading.py", "--home", str(home), "--seconds", "4", "--rate", "20")
    assert value["requests"] == 80
    assert value["questions_per_second"] > 0
