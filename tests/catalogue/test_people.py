"""What people write stays: through a downgrade, and when a corpus is loaded anew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from sqlalchemy import Engine, inspect, select

from backend.accounts.audit import Actor
from backend.catalogue.database import alembic_config, exclusive, migrate, open_catalogue, read_session, write_session
from backend.catalogue.loading import load_home
from backend.catalogue.models import Annotation, Base, Passage, PrivateSource, Prompt, User
from backend.catalogue.withheld import PLACEHOLDER
from backend.core.records import query_hash
from backend.curation.private_sources import make_private, make_public
from tests.catalogue.factories import tiny_home

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def user() -> User:
    return User(id=1, name="ada", role="curator", password_hash=None, created_at=NOW, disabled_at=None)


def move(engine: Engine, revision: str, *, up: bool) -> None:
    with exclusive(engine) as connection:
        (command.upgrade if up else command.downgrade)(alembic_config(connection), revision)


def annotation(prompt: Prompt, number: int, *, deleted: bool = False) -> Annotation:
    return Annotation(
        id=f"a{number}",
        user_id=1,
        pool_id=None,
        query_hash=prompt.query_hash,
        content_hash=f"text {number}",
        subject={"slug": prompt.slug},
        label="irrelevant",
        span=None,
        note="",
        version=1,
        created_at=NOW,
        updated_at=NOW,
        deleted_at=NOW if deleted else None,
    )


def test_a_prompt_knows_the_hash_of_its_texts_however_it_is_inserted(catalogue_url: str, tmp_path: Path) -> None:
    tiny = tiny_home(tmp_path, catalogue_url)
    with read_session(tiny.engine) as session:
        prompts = session.scalars(select(Prompt)).all()
    assert prompts
    assert all(prompt.query_hash == query_hash(prompt.prompt, prompt.completion) for prompt in prompts)


def test_a_downgrade_keeps_what_people_wrote_for_the_next_upgrade(catalogue_url: str, tmp_path: Path) -> None:
    tiny = tiny_home(tmp_path, catalogue_url)
    with write_session(tiny.engine) as session:
        session.add(user())
        session.flush()
        prompt = session.scalars(select(Prompt)).first()
        assert prompt is not None
        session.add(annotation(prompt, 1))
        hashes = session.scalars(select(Prompt.query_hash).order_by(Prompt.pk)).all()
    move(tiny.engine, "0005", up=False)
    assert {"users", "annotations"} <= set(inspect(tiny.engine).get_table_names())
    move(tiny.engine, "0006", up=True)
    migrate(tiny.engine)
    with read_session(tiny.engine) as session:
        assert session.scalars(select(Annotation.id)).all() == ["a1"]
        assert session.scalars(select(User.name)).all() == ["ada"]
        assert session.scalars(select(Prompt.query_hash).order_by(Prompt.pk)).all() == hashes


def test_a_corpus_that_is_loaded_later_finds_its_annotations_and_private_sources(
    catalogue_url: str, tmp_path: Path
) -> None:
    made = tiny_home(tmp_path / "made", f"sqlite:///{tmp_path / 'made.db'}")
    with read_session(made.engine) as session:
        prompts = session.scalars(select(Prompt).order_by(Prompt.pk)).all()
        source = session.scalars(select(Passage.source).order_by(Passage.pk)).first()
    engine = open_catalogue(catalogue_url)
    migrate(engine)
    with write_session(engine) as session:
        session.add(user())
        session.flush()
        session.add_all([annotation(prompts[0], 1), annotation(prompts[0], 2), annotation(prompts[1], 3, deleted=True)])
        session.add(PrivateSource(source=source, reason="", user_id=1, created_at=NOW))
    load_home(engine, made.home)
    with read_session(engine) as session:
        counted = {slug: n for slug, n in session.execute(select(Prompt.slug, Prompt.annotation_count))}
        assert {slug: n for slug, n in counted.items() if n} == {prompts[0].slug: 2}
        withheld = session.execute(select(Passage.source, Passage.withheld).distinct()).all()
        assert {name for name, hidden in withheld if hidden} == {source}
    engine.dispose()


def test_withheld_texts_come_back_with_a_downgrade_and_go_again_with_an_upgrade(
    catalogue_url: str, tmp_path: Path
) -> None:
    tiny = tiny_home(tmp_path, catalogue_url)
    texts = select(Passage.pk, Passage.text, Passage.title).order_by(Passage.pk)
    with write_session(tiny.engine) as session:
        session.add(user())
        session.flush()
        before = session.execute(texts).all()
        source = session.scalars(select(Passage.source).order_by(Passage.pk)).first()
        assert source is not None
        make_private(session, Actor("ada", 1), source, "")
        hidden = session.execute(texts).all()
    assert [row.text for row in hidden].count(PLACEHOLDER) >= 1
    move(tiny.engine, "0006", up=False)
    with tiny.engine.connect() as connection:
        assert connection.execute(texts).all() == before
    move(tiny.engine, "0007", up=True)
    with write_session(tiny.engine) as session:
        assert session.execute(texts).all() == hidden
        make_public(session, Actor("ada", 1), source)
        assert session.execute(texts).all() == before


def test_all_tables_of_people_are_of_the_catalogue() -> None:
    assert {"users", "sessions", "api_tokens", "annotations", "pools", "flags"} <= Base.metadata.tables.keys()
