"""With CI=true a skipped test is a failed one; elsewhere it is skipped, with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = """
import pytest

def test_skips():
    pytest.skip("no such program")

@pytest.mark.cuda
def test_needs_a_device():
    pytest.skip("no CUDA device")

@pytest.mark.xfail
def test_known():
    assert False
"""


def run(folder: Path, ci: str) -> str:
    (folder / "test_skipped.py").write_text(SKIPPED)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    cuda: needs a CUDA device\n")
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return finished.stdout.splitlines()[-1]


@pytest.mark.parametrize(("ci", "counts"), [("true", "1 failed, 1 skipped, 1 xfailed"), ("", "2 skipped, 1 xfailed")])
def test_skipping(tmp_path: Path, ci: str, counts: str) -> None:
    assert run(tmp_path, ci).startswith(counts)
