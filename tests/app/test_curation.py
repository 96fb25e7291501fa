"""Flags and what is made of them; private sources, whose texts no reader gets by any address."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, func, select, update
from starlette.testclient import TestClient

from app.main import create_app
from backend.catalogue.database import open_catalogue, read_session, write_session
from backend.catalogue.models import AuditEvent, Flag, Passage, WithheldText
from backend.catalogue.withheld import PLACEHOLDER
from tests.app.addresses import BM25, HTML, JSON, TRACKSTAR
from tests.app.example_annotations import token_of
from tests.app.example_catalogue import settings_for

FLAGGED = "fact/capital/peru/1"


@pytest.fixture
def home(full_home: Path, tmp_path: Path) -> Path:
    """A copy of the example, of which nothing is flagged yet."""
    made = shutil.copytree(full_home, tmp_path / "home")
    engine = open_catalogue(settings_for(made))
    with write_session(engine) as session:
        session.execute(delete(AuditEvent).where(AuditEvent.action.startswith("flag.")))
        session.execute(delete(Flag))
    engine.dispose()
    return made


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    made = open_catalogue(settings_for(home))
    yield made
    made.dispose()


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    with TestClient(create_app(settings_for(home)), follow_redirects=False) as made:
        yield made


def flag(client: TestClient, home: Path, name: str = "ada", **fields: str) -> int:
    form = {"passages": FLAGGED, "reason": "wrong", "note": "says <b>nothing</b>", **fields}
    return int(client.post("/flags", data=form, headers=token_of(home, name)).status_code)


def test_a_flag_is_set_shown_and_cleared_and_its_history_stays(client: TestClient, home: Path, engine: Engine) -> None:
    ada, ben = token_of(home, "ada"), token_of(home, "ben")
    assert flag(client, home, back=f"/passages/{FLAGGED}") == 303
    assert flag(client, home) == 303  # again: nothing new
    anybody = client.get(f"/passages/{FLAGGED}").text
    assert "Flagged" in anybody
    assert "says &lt;b&gt;" not in anybody
    assert "says &lt;b&gt;nothing" in client.get(f"/passages/{FLAGGED}", headers=ben).text
    items = client.get("/flags.json").json()["items"]
    assert [(item["passage_id"], item["reason"]) for item in items] == [(FLAGGED, "wrong")]
    assert "note" not in items[0]
    assert "by" not in items[0]
    assert client.get("/flags.json", headers=ben).json()["items"][0]["by"] == "ada"
    assert client.post(f"/flags/{items[0]['id']}/clear", headers=ben).status_code == 403
    assert client.post(f"/flags/{items[0]['id']}/clear", headers=ada).status_code == 303
    assert client.get("/flags.json").json()["items"] == []
    assert "Was flagged" in client.get(f"/passages/{FLAGGED}").text
    assert client.get("/flags.json?state=cleared").json()["total"] == 1
    assert flag(client, home) == 303
    assert client.get("/flags.json?state=all").json()["total"] == 2
    with read_session(engine) as session:
        trail = session.scalars(select(AuditEvent.action).where(AuditEvent.action.startswith("flag."))).all()
    assert trail == ["flag.add", "flag.clear", "flag.add"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"passages": "fact/capital/peru/0\nnowhere"}, "has no passage nowhere"),
        ({"passages": " \n "}, "no passage to flag"),
        ({"reason": "boring"}, "no such reason"),
        ({"note": "x" * 2_001}, "at most 2,000"),
        ({"passages": "\n".join(map(str, range(1_001)))}, "1,000 can be flagged at once"),
    ],
)
def test_what_cannot_be_flagged_says_why_and_nothing_is(
    client: TestClient, home: Path, engine: Engine, fields: dict[str, str], reason: str
) -> None:
    form = {"passages": FLAGGED, "reason": "wrong", "note": "", **fields}
    answer = client.post("/flags", data=form, headers=token_of(home, "ada"))
    assert answer.status_code == 422
    assert reason in answer.text
    with read_session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Flag)) == 0


def test_the_flagged_ids_and_the_rest_are_the_corpus(client: TestClient, home: Path, engine: Engine) -> None:
    ada = token_of(home, "ada")
    flag(client, home)
    flag(client, home, passages="factbook/peru/0", reason="toxic")
    ids = client.get("/flags/ids.txt", headers=token_of(home, "ben")).text.splitlines()
    with read_session(engine) as session:
        flagged = set(session.scalars(select(Flag.content_hash)))
        rows = session.execute(select(Passage.passage_id, Passage.content_hash).order_by(Passage.position)).all()
        assert ids == [passage_id for passage_id, content_hash in rows if content_hash in flagged]
        assert {FLAGGED, "factbook/peru/0"} <= set(ids)
        rest = [json.loads(line) for line in client.get("/flags/corpus.jsonl", headers=ada).text.splitlines()]
        assert [row["id"] for row in rest] == [passage_id for passage_id, _ in rows if passage_id not in set(ids)]
        texts = dict(session.execute(select(Passage.passage_id, Passage.text)).all())
    assert all(row["text"] == texts[row["id"]] for row in rest)
    assert client.get("/flags/ids.txt?reason=toxic", headers=ada).text == "factbook/peru/0\n"
    table = list(csv.DictReader(io.StringIO(client.get("/flags.csv", headers=ada).text)))
    assert {row["reason"] for row in table} == {"wrong", "toxic"}
    assert client.get("/flags/ids.txt").status_code == 303
    assert client.get("/flags/corpus.jsonl", headers=token_of(home, "ben")).status_code == 403
    assert client.get("/flags/corpus.jsonl?corpus=nothing", headers=ada).status_code == 404


FILES = (
    f"/r/{TRACKSTAR}+{BM25}/capital-peru.csv",
    f"/r/{TRACKSTAR}+{BM25}/capital-peru.jsonl",
    "/prompts/capital-peru.csv?k=100",
    "/prompts/capital-peru.jsonl",
    "/passages/fact/capital/peru/0.csv",
    "/passages/fact/capital/peru/0.jsonl",
    "/prompts.csv",
    "/api/v1/prompts/capital-peru",
    "/api/v1/prompts/capital-peru?k=100",
    "/api/v1/passages?limit=200",
    "/api/v1/passages/fact/capital/peru/0",
    "/runs.csv",
    "/flags.json",
    "/agreement.json?include=in-place",
)


def test_of_private_sources_no_reader_gets_a_text_by_any_address(
    client: TestClient, home: Path, engine: Engine
) -> None:
    """Every source is private and every text and title marked; readers get no mark anywhere, annotators do."""
    with write_session(engine) as session:
        marked = {"text": Passage.text + " SECRETMARK", "title": "SECRETMARK title"}
        session.execute(update(Passage).values(**marked))
        sources = session.scalars(select(Passage.source).distinct()).all()
    ada, ben = token_of(home, "ada"), token_of(home, "ben")
    shown = {url for url in (*HTML, *JSON, *FILES) if "SECRETMARK" in client.get(url).text}
    assert len(shown) > 15
    for source in sources:
        form = {"source": source, "private": "yes", "reason": "not ours to show"}
        assert client.post("/sources/private", data=form, headers=ada).status_code == 303
    for headers in ({}, token_of(home, "rita")):
        leaks = [url for url in (*HTML, *JSON, *FILES) if "SECRETMARK" in client.get(url, headers=headers).text]
        assert leaks == []
    hashes = {
        url: client.get(url).text for url in ("/passages/fact/capital/peru/0.json", "/flags.json", "/agreement.json")
    }
    with read_session(engine) as session:
        known = session.scalars(select(Passage.content_hash)).all()
    assert [url for url, text in hashes.items() if any(one in text for one in known)] == []  # or a guess is confirmed
    for url in ("/prompts/capital-peru", "/passages/fact/capital/peru/0", "/prompts/capital-peru.json"):
        assert "SECRETMARK" in client.get(url, headers=ben).text
        assert PLACEHOLDER in client.get(url).text  # what was kept for readers is not an annotator's page
    assert "Planted facts" in client.get("/passages/fact/capital/peru/0").text  # the credit stays
    assert "SECRETMARK" in client.get("/flags/corpus.jsonl", headers=ada).text
    for source in sources:
        client.post("/sources/private", data={"source": source, "private": "no"}, headers=ada)
    assert {url for url in (*HTML, *JSON, *FILES) if "SECRETMARK" in client.get(url).text} == shown
    with read_session(engine) as session:
        assert session.scalar(select(func.count()).select_from(WithheldText)) == 0
        assert session.scalar(select(func.count()).select_from(Passage).where(Passage.withheld)) == 0


def test_words_about_a_private_text_are_not_for_readers(home: Path, engine: Engine) -> None:
    settings = settings_for(home).model_copy(update={"annotations": "everyone"})
    with TestClient(create_app(settings), follow_redirects=False) as client:
        url = "/prompts/capital-peru?methods=bm25&copies=each&k=50"
        assert re.search(r"said-quote[^>]*>\s*Lima", client.get(url).text)
        form = {"source": "Planted facts: capital", "private": "yes", "reason": ""}
        assert client.post("/sources/private", data=form, headers=token_of(home, "ada")).status_code == 303
        assert not re.search(r"said-quote[^>]*>\s*Lima", client.get(url).text)
        assert "said-note" not in client.get(url).text
        assert re.search(r"said-quote[^>]*>\s*Lima", client.get(url, headers=token_of(home, "ben")).text)


def test_words_about_an_earlier_text_are_not_for_readers(home: Path, engine: Engine) -> None:
    """It may have been of a private source, and the passage of the same id today is of an open one."""
    with write_session(engine) as session:
        old = select(Passage.content_hash).where(Passage.passage_id == "fact/capital/peru/0").scalar_subquery()
        changed = update(Passage).where(Passage.content_hash == old)
        session.execute(changed.values(text="Lima is elsewhere.", content_hash="0" * 64, source="Open"))
    settings = settings_for(home).model_copy(update={"annotations": "everyone"})
    with TestClient(create_app(settings), follow_redirects=False) as client:
        url = "/prompts/capital-peru?methods=bm25&copies=each&k=50"
        assert "an earlier text" in client.get(url, headers=token_of(home, "cleo")).text
        cards = [card for card in client.get(url).text.split('<li class="card"') if "earlier text" in card]
        assert cards
        assert [card for card in cards if "said-note" in card or "said-quote" in card] == []


def test_a_source_that_cannot_be_private_says_why(client: TestClient, home: Path) -> None:
    ada = token_of(home, "ada")
    for form, reason in (
        ({"source": "nobody", "private": "yes"}, "No passage comes from"),
        ({"source": "", "private": "yes"}, "without a name"),
        ({"source": "x", "private": "maybe"}, "yes or no"),
        ({"source": "Planted facts: capital", "private": "yes", "reason": "x" * 501}, "at most 500"),
    ):
        answer = client.post("/sources/private", data=form, headers=ada)
        assert (answer.status_code, reason in answer.text) == (422, True)
    assert client.post("/sources/private", data={}, headers=token_of(home, "ben")).status_code == 403
