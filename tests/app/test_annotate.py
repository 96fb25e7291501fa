"""Annotating: who may, what a form says, whose is whose, blindness, and what leaves as a file."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx2 import Response
from sqlalchemy import select
from starlette.testclient import TestClient

from app.main import create_app
from backend.accounts.audit import COMMAND_LINE
from backend.annotations.exchange import import_lines
from backend.catalogue.database import open_catalogue, read_session, write_session
from backend.catalogue.models import Annotation, Pool
from backend.core.labels import Label
from tests.app.addresses import (
    BM25,
    BY_ROLE,
    CLOSED_POOL,
    FIRST,
    IN_PLACE,
    OPEN_POOL,
    SIGNED_IN,
    SIGNED_IN_JSON,
    TRACKSTAR,
)
from tests.app.example_annotations import PEOPLE, token_of
from tests.app.example_catalogue import fill, open_empty, settings_for

ORDER = list(BY_ROLE)
WRITES = {
    "/annotate/in-place": "annotator",
    f"/annotate/pools/{OPEN_POOL}": "annotator",
    f"/annotations/{FIRST}/delete": "annotator",
    f"/annotations/{FIRST}/undo": "annotator",
    "/annotate/pools/new": "curator",
    f"/annotate/pools/{OPEN_POOL}/close": "curator",
    f"/annotate/pools/{OPEN_POOL}/open": "curator",
}
FILES = {
    "/annotate/mine.csv": "annotator",
    "/annotate/mine.jsonl": "annotator",
    "/annotations.csv": "curator",
    "/annotations.jsonl": "curator",
}
ONLY = {
    url: role
    for url, role in SIGNED_IN.items()
    if not url.startswith(("/prompts/", "/agreement", "/flags", "/passages"))
}


@pytest.fixture
def home(full_home: Path, tmp_path: Path) -> Path:
    """A copy to write to."""
    return shutil.copytree(full_home, tmp_path / "home")


def client_of(home: Path, **settings: object) -> TestClient:
    made = settings_for(home).model_copy(update=settings)
    return TestClient(create_app(made), follow_redirects=False)


@pytest.fixture
def own(home: Path) -> Iterator[TestClient]:
    with client_of(home) as made:
        yield made


def judge(client: TestClient, home: Path, name: str, **fields: object) -> Response:
    data = {"prompt": "capital-peru", "passage": "fact/capital/peru/1", **fields}
    return client.post("/annotate/in-place", data=data, headers=token_of(home, name))


def stored(home: Path, **wanted: object) -> list[Annotation]:
    engine = open_catalogue(settings_for(home))
    with read_session(engine) as session:
        found = session.scalars(select(Annotation).filter_by(**wanted).order_by(Annotation.created_at)).all()
    engine.dispose()
    return list(found)


@pytest.mark.parametrize("name", [None, *PEOPLE])
def test_each_address_is_for_the_roles_that_it_says(client: TestClient, full_home: Path, name: str | None) -> None:
    """Reads are answered, writes at least not refused for the role (they are wrong in themselves)."""
    headers = token_of(full_home, name) if name else {}
    mine = ORDER.index(PEOPLE[name].value) if name else -1
    for url, role in (ONLY | SIGNED_IN_JSON | FILES).items():
        may = mine >= ORDER.index(role)
        if url.startswith(f"/annotations/{FIRST}") and name == "cleo":
            may = False  # ben's
        expected = {200} if may else {403} if name else {303, 401}
        if url.startswith(f"/annotations/{FIRST}") and name == "cleo":
            expected = {404}
        assert client.get(url, headers=headers).status_code in expected, (name, url)
    for url, role in WRITES.items():
        if mine < ORDER.index(role):
            assert client.post(url, headers=headers, data={}).status_code == (403 if name else 401), (name, url)


def test_nobody_touches_what_is_somebody_elses(own: TestClient, home: Path) -> None:
    """Two users x every object route; a curator reads and does not write."""
    before = stored(home, id=FIRST)[0]
    for name, reads in (("cleo", 404), ("ada", 200)):
        headers = token_of(home, name)
        assert own.get(f"/annotations/{FIRST}", headers=headers).status_code == reads
        assert own.get(f"/annotations/{FIRST}.json", headers=headers).status_code == reads
        for act in ("delete", "undo"):
            done = own.post(f"/annotations/{FIRST}/{act}", data={"version": before.version}, headers=headers)
            assert done.status_code == 404
    after = stored(home, id=FIRST)[0]
    assert (after.version, after.label) == (before.version, before.label)
    ids = {item["annotator"] for item in own.get("/annotate/mine.json", headers=token_of(home, "cleo")).json()["items"]}
    assert ids == {"cleo"}


def test_a_judgement_in_place_from_form_to_history(own: TestClient, home: Path) -> None:
    ben = token_of(home, "ben")
    saved = judge(own, home, "ben", label="states-fact", quote="Lima", note="a\r\nb", back="/prompts/capital-peru?k=2")
    assert (saved.status_code, saved.headers["location"]) == (303, "/prompts/capital-peru?k=2")
    made = stored(home)[-1]
    assert (made.label, made.note, made.version) == ("states-fact", "a\nb", 1)
    assert made.span is not None
    assert made.span["quote"] == "Lima"
    assert made.subject["runs"].keys() >= {TRACKSTAR}
    assert "states the fact" in own.get("/prompts/capital-peru?methods=trackstar", headers=ben).text
    assert judge(own, home, "ben", label="template", version=1).status_code == 303
    url = f"/annotations/{made.id}"
    assert (
        own.post(f"{url}/delete", data={"version": 2, "back": "//evil.example"}, headers=ben).headers["location"] == "/"
    )
    assert own.post(f"{url}/undo", data={"version": 3}, headers=ben).headers["location"] == url
    page = own.get(url, headers=ben)
    assert [action for action in re.findall("<strong>(.*?)</strong>", page.text)] == [
        "restore",
        "delete",
        "edit",
        "create",
    ]
    assert own.get(f"{url}.json", headers=ben).json()["label"] == "template"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "Choose a label, quote some words or write a note"),
        ({"label": "nonsense"}, "There is no such label"),
        ({"label": "template", "quote": "words that are not there"}, "does not hold these words"),
        ({"note": "x" * 5_001}, "at most 5,000"),
        ({"quote": "x" * 5_001}, "at most 5,000"),
    ],
)
def test_a_fault_is_said_beside_what_was_typed(
    own: TestClient, home: Path, fields: dict[str, str], reason: str
) -> None:
    before = len(stored(home))
    answer = judge(own, home, "ben", **{"note": "<b>keep me</b>", **fields} if fields else {})
    assert answer.status_code == 422
    assert reason in answer.text
    if fields:
        assert "&lt;b&gt;keep me" in answer.text or "x" * 5_001 in answer.text
    asked = {"prompt": "capital-peru", "passage": "fact/capital/peru/1", **fields}
    wire = own.post("/annotate/in-place", data=asked, headers={**token_of(home, "ben"), "accept": "application/json"})
    assert wire.json()["errors"][0]["message"].startswith(reason[:10]) or reason in wire.text
    assert len(stored(home)) == before


def test_what_another_window_saved_is_shown_and_not_overwritten(own: TestClient, home: Path) -> None:
    assert judge(own, home, "ben", label="template", version=0).status_code == 303
    answer = judge(own, home, "ben", label="irrelevant", note="from the other window", version=0)
    assert answer.status_code == 409
    assert "You have changed this in another window" in answer.text
    assert "from the other window" in answer.text
    assert stored(home)[-1].label == "template"
    assert 'name="version" value="1"' in answer.text
    assert judge(own, home, "ben", label="irrelevant", version=1).status_code == 303
    assert judge(own, home, "ben", label="irrelevant", version=1).status_code == 303  # sent again: nothing changes
    assert stored(home)[-1].version == 2


@pytest.mark.parametrize(
    ("shown", "sees"),
    [
        ("own", {None: False, "rita": False, "cleo": False, "ben": True}),
        ("annotators", {None: False, "rita": False, "cleo": True, "ben": True}),
        ("everyone", {None: True, "rita": True, "cleo": True, "ben": True}),
    ],
)
def test_others_annotations_are_shown_by_the_setting(home: Path, shown: str, sees: dict[str | None, bool]) -> None:
    with client_of(home, annotations=shown) as client:
        judge(client, home, "ben", label="contradicts", note="seen or not")
        for name, may in sees.items():
            page = client.get("/prompts/capital-peru", headers=token_of(home, name) if name else {}).text
            assert ("seen or not" in page) == may, name
            if may and name in (None, "rita"):
                assert ">ben" not in page
        judge(client, home, "ben", label="contradicts", note="changed since", version=1)
        if sees[None]:  # a kept page would still say the old
            assert "changed since" in client.get("/prompts/capital-peru").text


def test_annotators_stay_blind_while_a_pool_is_open(client: TestClient, full_home: Path) -> None:
    ben, ada = token_of(full_home, "ben"), token_of(full_home, "ada")
    for url in (
        f"/annotate/pools/{OPEN_POOL}",
        f"/annotate/pools/{OPEN_POOL}.json",
        "/annotate",
        "/annotate.json",
        f"/annotate/mine?pool={OPEN_POOL}",
        f"/annotate/mine.json?pool={OPEN_POOL}",
        f"/annotate/mine.csv?pool={OPEN_POOL}",
        f"/annotate/mine.jsonl?pool={OPEN_POOL}",
    ):
        text = client.get(url, headers=ben).text
        assert TRACKSTAR not in text, url
        assert BM25 not in text, url
    assert TRACKSTAR in client.get(f"/annotate/mine.jsonl?pool={CLOSED_POOL}", headers=ben).text
    assert TRACKSTAR in client.get(f"/annotations.jsonl?pool={OPEN_POOL}", headers=ada).text


def test_what_was_said_in_a_closed_pool_stands(own: TestClient, home: Path) -> None:
    ben, ada = token_of(home, "ben"), token_of(home, "ada")
    made = stored(home, id=FIRST)[0]
    assert made.pool_id == CLOSED_POOL
    for act in ("delete", "undo"):
        done = own.post(f"/annotations/{FIRST}/{act}", data={"version": made.version}, headers=ben)
        assert (done.status_code, "is closed" in done.text) == (409, True)
    assert "is closed" in own.get(f"/annotations/{FIRST}", headers=ben).text
    assert stored(home, id=FIRST)[0].version == made.version
    own.post(f"/annotate/pools/{CLOSED_POOL}/open", headers=ada)
    assert "Delete" in own.get(f"/annotations/{FIRST}", headers=ben).text
    assert own.post(f"/annotations/{FIRST}/delete", data={"version": 1}, headers=ben).status_code == 303


def test_the_queue_refuses_what_is_not_its_own(own: TestClient, home: Path) -> None:
    ben, ada = token_of(home, "ben"), token_of(home, "ada")
    url = f"/annotate/pools/{OPEN_POOL}"
    page = own.get(url, headers=ben).text
    item = re.search('name="item" value="(\\d+)"', page)
    assert item is not None
    answer = own.post(url, data={"item": item[1]}, headers=ben)
    assert answer.status_code == 422
    assert "Choose a label" in answer.text
    assert own.post(url, data={"item": "999999", "label": "template"}, headers=ben).status_code == 409
    assert own.get(f"{url}?item=999999", headers=ben).status_code == 404
    assert own.get("/annotate/pools/nothing", headers=ben).status_code == 404
    before = len(stored(home))
    assert own.post(url, data={"item": item[1], "act": "aside"}, headers=ben).status_code == 303
    assert len(stored(home)) == before
    own.post(f"{url}/close", headers=ada)
    answer = own.post(url, data={"item": item[1], "label": "template"}, headers=ben)
    assert answer.status_code == 409
    assert len(stored(home)) == before
    own.post(f"{url}/open", headers=ada)
    wire = {**ben, "accept": "application/json"}
    saved = own.post(url, data={"item": item[1], "label": "template"}, headers=wire).json()
    assert stored(home, id=saved["annotation"]["id"])[0].pool_id == OPEN_POOL


def test_a_curator_makes_a_pool_of_a_filtered_list(own: TestClient, home: Path) -> None:
    ada = token_of(home, "ada")
    form = {"name": "mine", "run": [TRACKSTAR, BM25], "depth": "2", "amount": "3", "target": "1", "seed": "5"}
    wrong = own.post("/annotate/pools/new", data={**form, "depth": "0", "name": "", "run": []}, headers=ada)
    assert wrong.status_code == 422
    assert all(reason in wrong.text for reason in ("from 1 to 100", "A pool has a name", "at least one run"))
    unknown = own.post("/annotate/pools/new", data={**form, "run": ["nothing-1"]}, headers=ada)
    assert (unknown.status_code, "There is no run nothing-1" in unknown.text) == (422, True)
    made = own.post("/annotate/pools/new?task=arithmetic", data=form, headers={**ada, "accept": "application/json"})
    assert made.status_code == 201
    engine = open_catalogue(settings_for(home))
    with read_session(engine) as session:
        assert session.get_one(Pool, made.json()["id"]).prompts == {"filter": {"task": "arithmetic"}, "drawn": 3}
    engine.dispose()


def test_files_hold_everything_and_import_to_the_same(client: TestClient, full_home: Path, tmp_path: Path) -> None:
    ada = token_of(full_home, "ada")
    text = client.get("/annotations.jsonl", headers=ada).text
    fresh = open_empty(tmp_path / "fresh")
    fill(fresh, with_hostile=True)
    with write_session(fresh) as session:
        import_lines(session, COMMAND_LINE, text.splitlines())
    fresh.dispose()
    kinds = [json.loads(line)["kind"] for line in text.splitlines()]
    assert kinds.count("pool") == 2
    table = list(csv.DictReader(io.StringIO(client.get("/annotations.csv", headers=ada).text)))
    assert len(table) == kinds.count("annotation") - 1  # the deleted one is in the lines alone
    assert {row["annotator"] for row in table} == {"ada", "ben", "cleo"}
    assert all(len(row["content_hash"]) == 64 for row in table)
    notes = [row["note"] for row in table if row["note"]]
    assert notes
    assert all(note.startswith("'=") for note in notes)  # no spreadsheet takes it for a formula
    assert {row["label"] for row in table} <= {*Label}


def test_strange_addresses_are_not_found(client: TestClient, full_home: Path) -> None:
    ben = token_of(full_home, "ben")
    for url in (
        "/annotate/in-place",
        "/annotate/in-place?prompt=a%00b&passage=c",
        f"{IN_PLACE[:-1]}99",
        "/annotations/nothing",
        "/annotations/nothing.json",
    ):
        assert client.get(url, headers=ben).status_code == 404, url
    assert client.get("/annotate/mine?label=nonsense", headers=ben).status_code == 400
    assert client.get("/annotate/mine.json?nonsense=1", headers=ben).status_code == 400


def test_what_one_judgement_changes_in_the_numbers_tells_annotators_nothing(own: TestClient, home: Path) -> None:
    """The agreement's page of an open pool stays as it is for them, and moves for curators."""
    ben, ada = token_of(home, "ben"), token_of(home, "ada")
    page = own.get(f"/annotate/pools/{OPEN_POOL}", headers=ben).text
    item = re.search('name="item" value="(\\d+)"', page)
    assert item is not None

    def seen(headers: dict[str, str]) -> list[str]:
        urls = (
            "/agreement.json",
            f"/agreement.json?pool={OPEN_POOL}",
            "/agreement.json?include=in-place",
            "/agreement",
        )
        return [re.sub("request .*", "", own.get(url, headers=headers).text) for url in urls]

    before, by_curator = seen(ben), seen(ada)
    own.post(f"/annotate/pools/{OPEN_POOL}", data={"item": item[1], "label": "contradicts"}, headers=ben)
    assert seen(ben) == before
    assert seen({})[:3] == before[:3]
    assert seen(ada) != by_curator


def test_a_program_judges_a_pool_to_its_end(own: TestClient, home: Path) -> None:
    wire = {**token_of(home, "cleo"), "accept": "application/json"}
    url = f"/annotate/pools/{OPEN_POOL}"
    texts = set()
    while (found := own.get(f"{url}.json", headers=wire).json())["item"] is not None:
        item = found["item"]
        texts.add((item["prompt"], item["text"]))
        saved = own.post(
            url, data={"item": item["item"], "label": "template", "version": item["version"]}, headers=wire
        )
        assert saved.status_code == 200
        assert saved.json()["annotation"]["version"] == 1
    assert len(texts) == 4
    assert found["left_for_me"] == 0
