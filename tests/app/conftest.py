"""One filled catalogue for all tests of pages (they only read), and clients over it and over none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app.main import create_app
from tests.app.clock import Clock
from tests.app.example_annotations import add_annotations
from tests.app.example_catalogue import fill, open_empty, settings_for
from tests.app.example_comparison import add_comparison
from tests.app.example_measurements import add_measurements
from tests.app.fake_worker import add_failed_question, add_tokenizer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The limits' time, which stands still."""
    made = Clock()
    made.rule(monkeypatch)
    return made


@pytest.fixture(scope="session")
def full_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("full")
    engine = open_empty(home)
    fill(engine, with_hostile=True)
    add_measurements(engine)
    add_comparison(engine)
    add_failed_question(engine)
    add_annotations(engine, home)
    engine.dispose()
    return home


@pytest.fixture(scope="session")
def client(full_home: Path) -> Iterator[TestClient]:
    with TestClient(create_app(settings_for(full_home)), follow_redirects=False) as made:
        yield made


@pytest.fixture
def home_of_its_own(tmp_path: Path) -> Iterator[tuple[Engine, TestClient]]:
    """A catalogue with tables and no rows, for a test to fill, and a client over it."""
    engine = open_empty(tmp_path)
    with TestClient(create_app(settings_for(tmp_path)), follow_redirects=False) as made:
        yield engine, made
    engine.dispose()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[TestClient]:
    """A client of a server whose catalogue is not there."""
    home = tmp_path / "nothing here"
    with TestClient(create_app(settings_for(home)), follow_redirects=False) as made:
        yield made


@pytest.fixture(scope="session")
def home_to_ask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("to-ask")
    engine = open_empty(home)
    fill(engine, methods=("trackstar", "bm25"))
    engine.dispose()
    add_tokenizer(home)
    return home


@pytest.fixture
def ask_home(home_to_ask: Path, tmp_path: Path) -> Path:
    """A home whose runs may be asked, with the model's tokenizer: a copy for one test."""
    return shutil.copytree(home_to_ask, tmp_path / "home")


@pytest.fixture
def ask_engine(ask_home: Path) -> Iterator[Engine]:
    """Its catalogue."""
    made = open_empty(ask_home)
    yield made
    made.dispose()


@pytest.fixture
def asking(ask_engine: Engine, ask_home: Path) -> Iterator[TestClient]:
    """A client over it."""
    with TestClient(create_app(settings_for(ask_home)), follow_redirects=False) as made:
        yield made
