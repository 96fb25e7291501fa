"""Opening a catalogue, its transactions, and its errors."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from backend.catalogue import database
from backend.catalogue.database import CatalogueError, migrate, open_catalogue, read_session, write_session
from backend.catalogue.models import Stage
from backend.catalogue.stages import StageLog
from backend.settings import Settings


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    opened = open_catalogue(f"sqlite:///{tmp_path / 'proponent.db'}")
    migrate(opened)
    return opened


def test_sqlite_is_of_a_version_without_the_wal_fault() -> None:
    pytest.importorskip("pysqlite3")
    assert database.sqlite_module().sqlite_version_info >= database.FIXED_IN


def test_the_standard_library_serves_where_it_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 52, 0))
    assert database.sqlite_module() is sqlite3


def test_pragmas(engine: Engine) -> None:
    with engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "busy_timeout", "foreign_keys", "synchronous")
        }
    assert values == {
        "journal_mode": "wal",
        "busy_timeout": database.BUSY_MILLISECONDS,
        "foreign_keys": 1,
        "synchronous": 1,
    }


def test_settings_name_the_catalogue(tmp_path: Path) -> None:
    opened = open_catalogue(Settings(home=tmp_path / "new" / "home"))
    migrate(opened)
    assert (tmp_path / "new" / "home" / "proponent.db").exists()


@pytest.mark.postgres
def test_plain_postgresql_urls_use_psycopg_3(postgres_url: str) -> None:
    opened = open_catalogue(postgres_url.replace("postgresql+psycopg", "postgresql"))
    migrate(opened)
    assert opened.driver == "psycopg"


def test_a_read_session_keeps_its_view(engine: Engine) -> None:
    log = StageLog(engine)
    log.plan("demo", [("corpus/a", "Corpus")])
    with read_session(engine) as session:
        before = session.scalars(select(Stage.name)).all()
        log.plan("demo", [("corpus/a", "Corpus"), ("model/b", "Model")])
        assert session.scalars(select(Stage.name)).all() == before
    with read_session(engine) as session:
        assert len(session.scalars(select(Stage.name)).all()) == 2


@pytest.mark.postgres
def test_a_read_session_cannot_write_to_postgresql(postgres_url: str) -> None:
    engine = open_catalogue(postgres_url)
    migrate(engine)
    with pytest.raises(Exception, match="read-only transaction"), read_session(engine) as session:
        session.execute(text("DELETE FROM stages"))
    with write_session(engine) as session:
        session.execute(text("DELETE FROM stages"))


def test_a_write_session_rolls_back_on_an_error(catalogue_url: str) -> None:
    engine = open_catalogue(catalogue_url)
    migrate(engine)
    StageLog(engine).plan("demo", [("corpus/a", "Corpus")])

    def delete_and_fail() -> None:
        with write_session(engine) as session:
            session.execute(text("DELETE FROM stages"))
            raise KeyError

    with pytest.raises(KeyError):
        delete_and_fail()
    with read_session(engine) as session:
        assert session.scalars(select(Stage.name)).all() == ["corpus/a"]


def test_two_writers_wait_for_each_other(engine: Engine) -> None:
    StageLog(engine).plan("demo", [("corpus/a", "Corpus")])

    def add_hundred() -> None:
        for _ in range(100):
            with write_session(engine) as session:
                stage = session.get_one(Stage, "corpus/a")
                stage.done += 1

    threads = [threading.Thread(target=add_hundred) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with read_session(engine) as session:
        assert session.get_one(Stage, "corpus/a").done == 300


def test_a_catalogue_that_stays_locked_is_a_clear_error(engine: Engine) -> None:
    with write_session(engine), pytest.raises(CatalogueError, match="is busy"), write_session(engine, 50):
        pass


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "nonsense"])
def test_a_url_of_no_catalogue_is_a_clear_error(url: str) -> None:
    with pytest.raises(CatalogueError, match=r"URL of a catalogue\b.*PROPONENT_DATABASE_URL"):
        open_catalogue(url)


def test_messages_hold_no_password() -> None:
    with pytest.raises(CatalogueError) as caught:
        open_catalogue("mysql://user:secret@host/db")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "proponent.db"
    path.write_text("this is not a database, although it is long enough to look like one" * 20)
    with pytest.raises(CatalogueError, match="is not a SQLite database"):
        migrate(open_catalogue(f"sqlite:///{path}"))


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CatalogueError, match=r"cannot be made.*--home"):
        open_catalogue(f"sqlite:///{tmp_path / 'file' / 'home' / 'proponent.db'}")


@pytest.mark.postgres
def test_a_server_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be reached"):
        migrate(open_catalogue(f"postgresql://someone@/db?host={tmp_path}"))
