"""Full-text search over prompts: the index of each database, and what readers type as a query of it.

``prompts.search_text`` holds words that ``search_words`` has brought to one form, and what readers type goes
through the same function, so nothing of a database's query language is ever left in it and both databases find
the same prompts.
"""

from __future__ import annotations

from sqlalchemy import DDL, ColumnElement, event, false, func, literal, literal_column, select, table, text
from sqlalchemy import column as sql_column

from backend.catalogue.models import Prompt
from backend.core.text import search_words

FTS = "prompt_search"
"""SQLite's full-text table over ``prompts.search_text``; triggers keep it in step."""

SQLITE_INDEX = (
    "CREATE VIRTUAL TABLE prompt_search USING fts5(search_text, content='prompts', content_rowid='pk')",
    "CREATE TRIGGER prompt_search_insert AFTER INSERT ON prompts BEGIN "
    "INSERT INTO prompt_search(rowid, search_text) VALUES (new.pk, new.search_text); END",
    "CREATE TRIGGER prompt_search_delete AFTER DELETE ON prompts BEGIN "
    "INSERT INTO prompt_search(prompt_search, rowid, search_text) VALUES ('delete', old.pk, old.search_text); END",
    "CREATE TRIGGER prompt_search_update AFTER UPDATE OF search_text ON prompts BEGIN "
    "INSERT INTO prompt_search(prompt_search, rowid, search_text) VALUES ('delete', old.pk, old.search_text); "
    "INSERT INTO prompt_search(rowid, search_text) VALUES (new.pk, new.search_text); END",
)
POSTGRESQL_INDEX = (
    "CREATE INDEX ix_prompts_search ON prompts USING gin (array_to_tsvector(string_to_array(search_text, ' ')))",
)


def is_of_search(kind: str, name: str | None) -> bool:
    """True for what this module makes past SQLAlchemy's metadata: migrations' comparison leaves it alone."""
    if kind == "table":
        return name is not None and (name == FTS or name.startswith(f"{FTS}_"))
    return kind == "index" and name == "ix_prompts_search"


for _dialect, _statements in (("sqlite", SQLITE_INDEX), ("postgresql", POSTGRESQL_INDEX)):
    for _statement in _statements:
        event.listen(Prompt.__table__, "after_create", DDL(_statement).execute_if(dialect=_dialect))
event.listen(Prompt.__table__, "before_drop", DDL(f"DROP TABLE IF EXISTS {FTS}").execute_if(dialect="sqlite"))


def search_text_of(*parts: str | None) -> str:
    """The words that search finds a prompt by."""
    return " ".join(search_words(" ".join(part for part in parts if part)))


def matches(typed: str, dialect: str) -> ColumnElement[bool]:
    """Prompts that hold every word of what a reader typed, the last one also as the beginning of a word.

    Never an error, whatever was typed: what holds no letter or digit matches nothing.
    """
    words = search_words(typed)
    if not words:
        return false()
    if dialect == "postgresql":
        document = func.array_to_tsvector(func.string_to_array(Prompt.search_text, literal_column("' '")))
        asked = literal(" & ".join(f"'{word}'" for word in words) + ":*")
        return document.op("@@", is_comparison=True)(asked.op("::")(literal_column("tsquery")))
    index = table(FTS, sql_column("rowid"))
    phrase = " ".join(f'"{word}"' for word in words) + "*"
    return Prompt.pk.in_(select(index.c.rowid).where(text("prompt_search MATCH :typed").bindparams(typed=phrase)))
