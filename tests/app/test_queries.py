"""Pages do a bounded number of queries, however much they show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from starlette.testclient import TestClient

from tests.app.addresses import BY_ROLE, HTML, JSON, SIGNED_IN, SIGNED_IN_JSON
from tests.app.example_annotations import token_of

MOST = 16
AFRESH = count()


@contextmanager
def counted() -> Iterator[list[str]]:
    """Statements of all engines while the block runs."""
    statements: list[str] = []

    def note(_connection, _cursor, statement, *_rest) -> None:  # type: ignore[no-untyped-def]
        if not statement.startswith(("PRAGMA", "BEGIN")):
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def afresh(url: str) -> str:
    """The same page at an address that no page is kept for."""
    return url if ".json" in url else f"{url}{'&' if '?' in url else '?'}visit={next(AFRESH)}"


WITHOUT_DATA = {"/sign-in"}  # a form alone: it reads nothing when nobody is signed in


@pytest.mark.parametrize("url", [*HTML, *JSON])
def test_few_queries(client: TestClient, url: str) -> None:
    client.get(url)
    with counted() as statements:
        assert client.get(afresh(url)).status_code == 200
    assert (url not in WITHOUT_DATA) <= len(statements) <= MOST


@pytest.mark.parametrize(("url", "role"), [*SIGNED_IN.items(), *SIGNED_IN_JSON.items()])
def test_few_queries_for_those_who_have_signed_in(client: TestClient, full_home: Path, url: str, role: str) -> None:
    headers = token_of(full_home, BY_ROLE[role])
    client.get(url, headers=headers)  # the first use of a token is noted
    with counted() as statements:
        assert client.get(url, headers=headers).status_code == 200
    assert 1 <= len(statements) <= MOST


@pytest.mark.parametrize(
    ("few", "many"),
    [
        ("/prompts?limit=1", "/prompts?limit=200"),
        ("/prompts.json?limit=1", "/prompts.json?limit=200&sort=best-traced&q=the"),
        (
            "/prompts/capital-peru?k=1&methods=bm25",
            "/prompts/capital-peru?k=100&methods=bm25,trackstar,random",
        ),
        ("/passages/fact/capital/peru/0?limit=1", "/passages/fact/capital/peru/0?limit=500"),
    ],
)
def test_more_rows_are_not_more_queries(client: TestClient, few: str, many: str) -> None:
    counts = []
    client.get(few)  # after a write the content version is read once more
    for url in (few, many):
        with counted() as statements:
            assert client.get(afresh(url)).status_code == 200
        counts.append(len(statements))
    assert counts[0] == counts[1]
