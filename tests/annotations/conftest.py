"""A small catalogue with prompts, passages and two methods' lists, and annotators of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from backend.accounts.audit import COMMAND_LINE, Actor
from backend.accounts.roles import Role
from backend.accounts.users import add_user
from backend.annotations.writing import About
from backend.catalogue.database import open_catalogue, write_session
from backend.catalogue.models import Base
from backend.settings import Settings
from tests.app.example_catalogue import fill

TRACKSTAR, BM25 = "trackstar-abc000000000", "bm25-abc000000001"


@dataclass(frozen=True)
class Site:
    engine: Engine
    ada: Actor
    ben: Actor


def signed_in(engine: Engine, name: str, role: Role) -> Actor:
    with write_session(engine) as session:
        user = add_user(session, COMMAND_LINE, name, role, None)
        return Actor(user.name, user.id)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """On SQLite, for what any database does."""
    with opened(f"sqlite:///{tmp_path / 'catalogue' / 'proponent.db'}") as made:
        yield made


@pytest.fixture
def any_site(catalogue_url: str) -> Iterator[Site]:
    """On each database, for what databases may do differently."""
    with opened(catalogue_url) as made:
        yield made


@contextmanager
def opened(url: str) -> Iterator[Site]:
    engine = open_catalogue(Settings(_env_file=None, database_url=url))  # type: ignore[call-arg]
    Base.metadata.create_all(engine)
    fill(engine, methods=("trackstar", "bm25"))
    yield Site(engine, signed_in(engine, "ada", Role.CURATOR), signed_in(engine, "ben", Role.ANNOTATOR))
    engine.dispose()


def about(number: int = 0, pool: str | None = None) -> About:
    return About(f"{number:064x}", f"{number + 1:064x}", pool, {"slug": "somewhere", "passage_id": f"p{number}"})
