"""A home with a model, a store and runs of every method, of which each test has its own copy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import Engine

from backend.catalogue.database import open_catalogue, read_session
from backend.jobs.subjects import Subject, subjects

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def home(tiny_demo: Path, tmp_path: Path) -> Path:
    """A copy of the tiny demonstration's home."""
    copy = tmp_path / "home"
    shutil.copytree(tiny_demo, copy)
    return copy


@pytest.fixture
def database(home: Path) -> Iterator[Engine]:
    engine = open_catalogue(f"sqlite:///{home / 'proponent.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def demonstration(database: Engine) -> Subject:
    """What may be asked about there."""
    with read_session(database) as session:
        return subjects(session)[0]
