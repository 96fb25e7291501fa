"""Asking by the API: what is taken, what is refused and how, who sees what, and one job however many ask."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from app.main import create_app
from backend.catalogue.database import read_session, write_session
from backend.catalogue.models import Ask, AskedJob, Job, Prompt, Ranking
from backend.jobs.client import cancel
from backend.jobs.records import complete_request
from tests.app.questions import COOKIE, FIELDS, QUESTION, URL, change, jobs, post, refused, settings_of
from tests.catalogue.factories import TinyHome, tiny_home


@pytest.fixture
def tiny(tmp_path: Path) -> TinyHome:
    return tiny_home(tmp_path)


@pytest.fixture
def client(tiny: TinyHome) -> Iterator[TestClient]:
    with TestClient(create_app(settings_of(tiny.home.root)), follow_redirects=False) as made:
        yield made


# --- asking


def test_a_question_is_new_once(client: TestClient, tiny: TinyHome) -> None:
    first = post(client)
    assert first.status_code == 202
    asked = first.json()
    assert set(asked) == FIELDS
    assert (asked["state"], asked["result_url"], asked["error"]) == ("queued", None, None)
    assert asked["url"].startswith("/jobs/")
    assert first.headers["location"] == f"{URL}/{asked['id']}"
    again = post(client, completion="Lima")  # the same text and boundary
    assert again.status_code == 200
    assert again.json()["id"] == asked["id"]
    assert again.json()["url"] != asked["url"]  # an ask of its own: cancelling one leaves the other
    assert post(client, k=11).json()["id"] != asked["id"]
    assert jobs(tiny) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"completion": None},
        {"completion": " ليما"},
        {"prompt": "שלום 🌍 \u202etxet"},
        {"prompt": "a\u0301" * 50},
        {"prompt": "x" * 20_000},
        {"task": "facts", "k": 100},
        {"task": None, "k": 1},
        {"method": "bm25"},
        {"method": "bm25", "completion": None},
        {"query_set": None},
    ],
    ids=repr,
)
def test_what_can_be_asked(client: TestClient, changes: dict[str, Any]) -> None:
    assert post(client, **changes).status_code == 202
    assert post(client, **changes).status_code == 200


def test_the_set_of_prompts_can_be_named(client: TestClient, tiny: TinyHome) -> None:
    named = post(client, query_set=tiny.query_set)
    assert named.status_code == 202
    assert post(client).json()["id"] == named.json()["id"]
    assert refused(post(client, query_set="none"), 422) == ["query_set"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \t\n\u2003"}, "prompt"),
        ({"prompt": "a\0b"}, "prompt"),
        ({"prompt": "x" * 100_000}, "prompt"),
        ({"completion": ""}, "completion"),
        ({"completion": "  "}, "completion"),
        ({"completion": "\0"}, "completion"),
        ({"method": "nonsense"}, "method"),
        ({"method": "a\0"}, "method"),
        ({"task": "nonsense"}, "task"),
        ({"query_set": "\0"}, "query_set"),
    ],
)
def test_what_cannot_be_asked(client: TestClient, tiny: TinyHome, changes: dict[str, Any], field: str) -> None:
    assert refused(post(client, **changes), 422) == [field]
    assert jobs(tiny) == 0


@pytest.mark.parametrize("field", ["prompt", "completion", "method", "task", "query_set"])
def test_half_a_character_cannot_be_asked(client: TestClient, field: str) -> None:
    text = json.dumps({**QUESTION, field: "a"}).replace(f'"{field}": "a"', f'"{field}": "a\\ud800"')
    answer = client.post(URL, content=text, headers={"Content-Type": "application/json"})
    assert refused(answer, 422) == [field]


def test_unknown_parameters_and_other_sites(client: TestClient) -> None:
    assert refused(client.post(f"{URL}?x=1", json=QUESTION), 400) == ["x"]
    refused(post(client, headers={"Sec-Fetch-Site": "cross-site"}), 403)
    refused(client.delete(f"{URL}/x"), 405)
    assert client.delete(f"{URL}/x").headers["allow"] == "GET"
    assert client.delete(URL).headers["allow"] == "GET, POST"


def test_nobody_may_ask(tiny: TinyHome) -> None:
    with TestClient(create_app(settings_of(tiny.home.root, asking="nobody"))) as client:
        refused(post(client), 403)
        assert client.get(URL).json()["items"] == []
    assert jobs(tiny) == 0


def test_nothing_to_ask_about(tmp_path: Path) -> None:
    with TestClient(create_app(settings_of(tmp_path / "none"))) as client:
        refused(post(client), 404)
        assert refused(post(client, query_set="x"), 422) == ["query_set"]
        assert client.get(URL).json() == {"items": [], "next": None, "total": 0}
        refused(client.get(f"{URL}/x"), 404)


def test_a_full_queue(tiny: TinyHome) -> None:
    with TestClient(create_app(settings_of(tiny.home.root, queued_questions=1))) as client:
        assert post(client).status_code == 202
        full = post(client, prompt="Another")
        refused(full, 503)
        assert int(full.headers["retry-after"]) > 0
        assert post(client).status_code == 200  # what waits already may be asked


# --- one job


def test_parallel_questions_are_one_job(tmp_path: Path, catalogue_url: str) -> None:
    tiny = tiny_home(tmp_path, catalogue_url)
    app = create_app(settings_of(tmp_path, database_url=catalogue_url))
    with TestClient(app) as client, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: post(client), range(50)))
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.json()["url"] for answer in answers}) == 50
    assert jobs(tiny) == 1


def test_parallel_requests_of_one_key_are_one_ask(tmp_path: Path, catalogue_url: str) -> None:
    tiny = tiny_home(tmp_path, catalogue_url)
    app = create_app(settings_of(tmp_path, database_url=catalogue_url))
    with TestClient(app) as client, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(client, headers={"Idempotency-Key": "k"}), range(20)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 19}
    assert len({answer.text for answer in answers}) == 1
    with read_session(tiny.engine) as session:
        assert session.scalar(select(func.count()).select_from(Ask)) == 1


def test_an_idempotency_key_stands_for_one_body(client: TestClient, tiny: TinyHome) -> None:
    key = {"Idempotency-Key": "order 66"}
    first = post(client, headers=key)
    again = post(client, headers=key)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    assert refused(post(client, headers=key, k=3), 422) == ["Idempotency-Key"]
    mine = post(client, headers={**key, **COOKIE}, k=3)  # another client's key is another key
    assert mine.status_code == 202
    with read_session(tiny.engine) as session:
        kept = session.scalars(select(Ask.idempotency_key)).all()
    assert all(len(one or "") == 64 for one in kept)


@pytest.mark.parametrize("key", ["", "é", "x" * 256, "a\tb"])
def test_keys_of_another_form(client: TestClient, key: str) -> None:
    raw = {b"Idempotency-Key": key.encode("latin-1")}
    answer = client.post(URL, json=QUESTION, headers=raw)
    assert refused(answer, 400) == ["Idempotency-Key"]


# --- reading


def test_a_question_that_waits_and_runs(client: TestClient, tiny: TinyHome) -> None:
    asked = post(client).json()
    second = post(client, k=5).json()
    open_fields = FIELDS | {"position", "stage", "progress", "seconds_left"}
    answer = client.get(f"{URL}/{second['id']}")
    assert set(answer.json()) == open_fields
    assert answer.json()["position"] == 2
    assert answer.headers["cache-control"] == "no-store"
    assert {name: answer.json()[name] for name in FIELDS} == second
    change(tiny, asked["id"], state="running", started_at=datetime.now(UTC), stage="scan", progress=0.5)
    running = client.get(f"{URL}/{asked['id']}").json()
    assert set(running) == open_fields
    assert (running["state"], running["position"], running["stage"], running["progress"]) == (
        "running",
        None,
        "scan",
        0.5,
    )
    assert client.head(f"{URL}/{asked['id']}").status_code == 200


@pytest.mark.parametrize("method", ["trackstar", "bm25"])
def test_a_question_that_is_done(client: TestClient, tiny: TinyHome, method: str) -> None:
    asked = post(client, method=method, k=3, completion=None).json()
    with read_session(tiny.engine) as session:
        run_id = session.get_one(Job, asked["id"]).run_id
        rows = select(Prompt).join(Ranking, Ranking.prompt_pk == Prompt.pk).where(Ranking.run_id == run_id)
        prompt = session.scalars(rows.limit(1)).one()
    change(tiny, asked["id"], state="done", prompt_pk=prompt.pk, finished_at=datetime.now(UTC))
    answer = client.get(f"{URL}/{asked['id']}")
    found = answer.json()
    assert answer.headers["cache-control"] == "private, no-cache"
    assert client.get(f"{URL}/{asked['id']}", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert set(found) == FIELDS | {"completion", "rankings"}
    assert found["completion"] == prompt.completion
    assert found["result_url"] == f"/r/{run_id}/{prompt.slug}"
    twin = client.get(f"{found['result_url']}.json?k=3").json()
    assert found["rankings"] == twin["rankings"]
    assert len(found["rankings"]) == 1
    assert len(found["rankings"][0]["proponents"]) == 3
    again = post(client, method=method, k=3, completion=None)
    assert again.status_code == 200
    assert again.json()["result_url"] == found["result_url"]


def test_questions_that_ended_without_an_answer(client: TestClient, tiny: TinyHome) -> None:
    failed, gone = post(client).json(), post(client, k=4).json()
    change(tiny, failed["id"], state="failed", error="The model is not here.", finished_at=datetime.now(UTC))
    found = client.get(f"{URL}/{failed['id']}").json()
    assert found == {**failed, "state": "failed", "error": "The model is not here."}
    with write_session(tiny.engine) as session:
        assert cancel(session, gone["url"].removeprefix("/jobs/"))
    assert client.get(f"{URL}/{gone['id']}").json()["state"] == "cancelled"
    assert post(client).status_code == 202  # tried again
    assert client.get(f"{URL}/{failed['id']}").json()["state"] == "queued"


def test_only_rankings_are_questions(client: TestClient, tiny: TinyHome) -> None:
    request = complete_request(tiny.model, "The capital of Peru is", 2)
    moment = datetime.now(UTC)
    with write_session(tiny.engine) as session:
        rest = {"parameters": request.parameters, "state": "queued", "created_at": moment, "queued_at": moment}
        session.add(Job(id=request.key, kind=request.kind, model_id=tiny.model, **rest))
    for name in (request.key, "nobody", "a%00b", "x" * 1000):
        refused(client.get(f"{URL}/{name}"), 404)


def test_readers_see_their_own(client: TestClient, tiny: TinyHome) -> None:
    other = {"Cookie": f"reader={'o' * 43}"}
    mine = [post(client, headers=COOKIE, k=k).json() for k in (1, 2, 3)]
    post(client, headers=other, k=4)
    post(client, k=5)
    post(client, headers=COOKIE, k=1)
    assert client.get(URL).json() == {"items": [], "next": None, "total": 0}
    assert client.get(URL, headers={"Cookie": "reader=short"}).json()["items"] == []
    listed = client.get(URL, headers=COOKIE)
    assert listed.headers["cache-control"] == "no-store"
    assert [item["id"] for item in listed.json()["items"]] == [mine[0]["id"], mine[2]["id"], mine[1]["id"]]
    assert listed.json()["items"][1]["prompt"] == QUESTION["prompt"]
    seen, following = [], f"{URL}?limit=2"
    while following:
        page = client.get(following, headers=COOKIE).json()
        assert page["total"] == 3
        seen += [item["id"] for item in page["items"]]
        following = page["next"]
    assert seen == [item["id"] for item in listed.json()["items"]]
    assert refused(client.get(f"{URL}?after=nobody", headers=COOKIE), 400) == ["after"]
    with read_session(tiny.engine) as session:
        readers = set(session.scalars(select(Ask.reader).where(Ask.reader.is_not(None))))
    assert readers == {hashlib.sha256((letter * 43).encode()).hexdigest() for letter in "ro"}


def test_nobody_learns_the_address_of_anothers_ask(client: TestClient, tiny: TinyHome) -> None:
    theirs = post(client, headers=COOKIE).json()
    assert client.get(f"{URL}/{theirs['id']}", headers=COOKIE).json()["url"] == theirs["url"]
    assert client.get(f"{URL}/{theirs['id']}").json()["url"] == f"{URL}/{theirs['id']}"
    nobodys = post(client).json()
    assert client.get(f"{URL}/{theirs['id']}").json()["url"] == nobodys["url"]
    assert client.get(f"{URL}/{theirs['id']}", headers=COOKIE).json()["url"] == theirs["url"]


def test_whom_the_queue_counts_a_question_for(client: TestClient, tiny: TinyHome) -> None:
    post(client, headers=COOKIE, k=9)  # a reader who has never asked is nobody yet
    mine, anybodys = post(client, headers=COOKIE).json(), post(client, k=2).json()
    with read_session(tiny.engine) as session:
        turns = {job.id: job.asked_by for job in session.scalars(select(Job))}
        assert session.scalar(select(func.count()).select_from(AskedJob)) == 3
    assert turns[mine["id"]] == f"reader:{hashlib.sha256(b'r' * 43).hexdigest()}"
    assert turns[anybodys["id"]] == f"address:{hashlib.sha256(b'testclient').hexdigest()[:16]}"
