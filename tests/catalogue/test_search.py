"""Full-text search: the same prompts on every database, and never an error, whatever is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, update

from backend.catalogue.database import migrate, open_catalogue, read_session, write_session
from backend.catalogue.loading import load_home
from backend.catalogue.models import Prompt
from backend.catalogue.search import matches, search_text_of
from backend.core.artifacts import Home
from backend.core.records import Query
from backend.core.text import search_words
from tests.catalogue.factories import tiny_passages, write_corpus, write_query_set

ODD = (
    *(
        "NEAR(a b)",
        "a AND",
        "OR",
        "NOT x",
        '"',
        "''",
        "*",
        "col:x",
        "^a",
        "a*b",
        "-x",
        "(",
        "{a}",
        "\\",
        "';--",
        "a & | b",
    ),
    *("!:*", "<->", "\0", "😀", "\u202e", "   ", "", "a" * 5000, "²", "ﬁ", "İ", "ß", "e\u0301", "كتاب", "\ud7ff\ue000"),
)


def found(engine: Engine, typed: str) -> set[str]:
    with read_session(engine) as session:
        return set(session.scalars(select(Prompt.query_id).where(matches(typed, engine.dialect.name))))


@pytest.fixture
def engine(catalogue_url: str, tmp_path: Path) -> Engine:
    home = Home(tmp_path / "home")
    corpus = write_corpus(home, tiny_passages())
    queries = [
        Query("peru", "facts", "The capital of Peru is", "Lima", relation="capital", subject="Peru", object="Lima"),
        Query("france", "facts", "The capital of France is", "Paris", relation="capital"),
        Query("coast", "facts", "Côte d'Ivoire's largest city is", "Abidjan", relation="largest_city"),
        Query("sum", "arithmetic", "12 + 30 =", "42"),
        Query("japan", "facts", "日本の首都は", "東京", relation="capital"),
        Query("strasse", "commonsense", "Die Straße ist", "naß"),
    ]
    write_query_set(home, corpus, queries)
    engine = open_catalogue(catalogue_url)
    migrate(engine)
    load_home(engine, home)
    return engine


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("capital", {"peru", "france", "japan"}),
        ("PERU capital", {"peru"}),
        ("capital of fra", {"france"}),  # the last word may be a beginning
        ("fra capital", set()),  # others may not
        ("lima", {"peru"}),
        ("cote", {"coast"}),
        ("CÔTE", {"coast"}),
        ("ivoire's", {"coast"}),
        ("largest city", {"coast"}),
        ("42", {"sum"}),
        ("日本", {"japan"}),  # one run of letters is one word, of which the beginning is enough
        ("首都", set()),
        ("strasse", {"strasse"}),
        ("STRASSE NASS", {"strasse"}),
        ("nothing here", set()),
        ("+ =", set()),
        ("capital -france", {"france"}),
    ],
)
def test_finds_what_was_typed(engine: Engine, typed: str, expected: set[str]) -> None:
    assert found(engine, typed) == expected


def test_odd_input_is_no_error(engine: Engine) -> None:
    for typed in ODD:
        found(engine, typed)


def test_changed_and_deleted_prompts_are_found_as_they_are(engine: Engine) -> None:
    with write_session(engine) as session:
        session.execute(update(Prompt).where(Prompt.query_id == "peru").values(search_text=search_text_of("Quito")))
        session.delete(session.scalars(select(Prompt).filter_by(query_id="france")).one())
    assert found(engine, "peru") == set()
    assert found(engine, "quito") == {"peru"}
    assert found(engine, "paris") == set()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(max_size=60), other=st.text(max_size=60))
@example(text="²①ﬁ", other="")
@example(text="\u0e33\u0e33", other="")
def test_every_text_is_found_by_itself(engine: Engine, text: str, other: str) -> None:
    with write_session(engine) as session:
        words = search_text_of(text, other)
        session.execute(update(Prompt).where(Prompt.query_id == "sum").values(search_text=words.replace("\0", "")))
    assert ("sum" in found(engine, text)) == bool(search_words(text))
