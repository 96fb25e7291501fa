"""Migrations: equal to the models, up and down with data, safe at a crowd's start, refused when too new."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from backend.catalogue.database import CatalogueError, alembic_config, exclusive, migrate, open_catalogue
from backend.catalogue.loading import load_home
from backend.catalogue.models import Base
from backend.catalogue.search import is_of_search
from tests.catalogue.dump import counts, ranked
from tests.catalogue.factories import tiny_home


def move(engine: Engine, revision: str, *, up: bool) -> None:
    with exclusive(engine) as connection:
        (command.upgrade if up else command.downgrade)(alembic_config(connection), revision)


def test_the_migrations_make_exactly_the_models(catalogue_url: str) -> None:
    engine = open_catalogue(catalogue_url)
    migrate(engine)
    with engine.connect() as connection:
        options = {
            "compare_server_default": True,
            "include_object": lambda _item, name, kind, *_: not is_of_search(kind, name),
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_there_is_one_newest_revision() -> None:
    assert len(ScriptDirectory.from_config(alembic_config()).get_heads()) == 1


def test_up_down_up_with_data(catalogue_url: str, tmp_path: Path) -> None:
    tiny = tiny_home(tmp_path, catalogue_url)
    before = counts(tiny.engine), ranked(tiny.engine)
    scripts = ScriptDirectory.from_config(alembic_config())
    for script in scripts.walk_revisions():
        below = script.down_revision or "base"
        assert isinstance(below, str)
        move(tiny.engine, below, up=False)
        move(tiny.engine, script.revision, up=True)
        move(tiny.engine, below, up=False)
    assert set(inspect(tiny.engine).get_table_names()) == {"alembic_version"}
    migrate(tiny.engine)
    load_home(tiny.engine, tiny.home)
    assert (counts(tiny.engine), ranked(tiny.engine)) == before


def test_migrating_twice_changes_nothing(catalogue_url: str, tmp_path: Path) -> None:
    tiny = tiny_home(tmp_path, catalogue_url)
    before = counts(tiny.engine)
    migrate(tiny.engine)
    assert counts(tiny.engine) == before


def test_a_newer_catalogue_is_refused(catalogue_url: str) -> None:
    engine = open_catalogue(catalogue_url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(CatalogueError, match=r"a newer version wrote it\. Upgrade Proponent"):
        migrate(engine)


def test_a_failing_migration_leaves_nothing(tmp_path: Path) -> None:
    engine = open_catalogue(f"sqlite:///{tmp_path / 'proponent.db'}")

    def upgrade_and_fail() -> None:
        with exclusive(engine) as connection:
            command.upgrade(alembic_config(connection), "head")
            raise KeyError

    with pytest.raises(KeyError):
        upgrade_and_fail()
    assert inspect(engine).get_table_names() == []


def test_many_processes_may_migrate_at_once_from_any_folder(catalogue_url: str, tmp_path: Path) -> None:
    starting_gun = tmp_path / "go"
    script = f"""
import pathlib, time
from backend.catalogue.database import migrate, open_catalogue
engine = open_catalogue({catalogue_url!r})
print("ready", flush=True)
while not pathlib.Path({str(starting_gun)!r}).exists():
    time.sleep(0.001)
migrate(engine)
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    starting_gun.touch()
    time.sleep(0.01)
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    test_the_migrations_make_exactly_the_models(catalogue_url)
