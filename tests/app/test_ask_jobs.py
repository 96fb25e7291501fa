"""Following a question: its page in every state, its completions, taking it back, and one's own list."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text, update
from starlette.testclient import TestClient

from app.main import create_app
from backend.catalogue import models as m
from backend.catalogue.database import open_catalogue, write_session
from backend.jobs import queue
from tests.app.addresses import TRACKSTAR
from tests.app.example_catalogue import fill, settings_for
from tests.app.fake_worker import FakeWorker, add_tokenizer

PERU = {"prompt": "The capital of Peru is", "completion": " Lima", "method": ["trackstar", "bm25"]}
BOTH = f"{TRACKSTAR}+bm25-abc000000001"


def ask(client: TestClient, **changed: Any) -> str:
    """Address of the page of a question."""
    answer = client.post("/ask", data={**PERU, **changed})
    assert answer.status_code == 303
    return answer.headers["location"]


def live(text: str) -> str:
    """The changing part of the page."""
    return text[text.index('<div id="live"') : text.index("</main>")]


# --- the page


def test_waiting(asking: TestClient) -> None:
    url = ask(asking)
    page = asking.get(url)
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    assert "waiting, next in line" in page.text
    assert "waiting, number 2 in line" in page.text
    assert "No worker is running" in page.text
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page.text
    assert f'hx-sse:connect="{url}/events" hx-sse:close="done"' in page.text
    assert f'action="{url}/cancel"' in page.text
    twin = asking.get(f"{url}.json").json()
    assert (twin["id"], twin["state"], twin["result_url"]) == (url.removeprefix("/jobs/"), "queued", None)
    keys = ("method", "state", "stage", "position", "seconds_left", "error", "result_url")
    assert [[job[key] for key in keys] for job in twin["jobs"]] == [
        ["trackstar", "queued", None, 1, None, None, None],
        ["bm25", "queued", None, 2, None, None, None],
    ]


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("gradient", "gradient is taken"),
        ("scan", "every passage of the corpus is scored"),
        ("saving", "list is being saved"),
        ("completing", "model completes"),
        ("loading", "index are being loaded"),
    ],
)
def test_at_work(asking: TestClient, ask_engine: Engine, stage: str, words: str) -> None:
    url = ask(asking, method="trackstar")
    worker = FakeWorker(ask_engine)
    worker.at(worker.claim(), stage, 0.25)
    part = live(asking.get(url).text)
    assert words in part
    assert '<progress max="1" value="0.250"' in part
    assert "No worker is running" not in part
    job = asking.get(f"{url}.json").json()["jobs"][0]
    assert (job["state"], job["stage"], job["progress"]) == ("running", stage, 0.25)


def test_a_worker_that_loads_is_told(asking: TestClient, ask_engine: Engine) -> None:
    url = ask(asking, method="trackstar")
    worker = FakeWorker(ask_engine)
    queue.set_worker(ask_engine, worker.id, state="loading", message=TRACKSTAR)
    assert "index are being loaded" in live(asking.get(url).text)


def test_time_left_comes_from_earlier_questions(asking: TestClient, ask_engine: Engine) -> None:
    worker = FakeWorker(ask_engine)
    ask(asking, method="trackstar")
    worker.work()
    with write_session(ask_engine) as session:
        row = session.query(m.Job).one()
        assert row.finished_at is not None
        session.execute(update(m.Job).values(started_at=row.finished_at - (row.finished_at - row.created_at) * 0))
    url = ask(asking, method="trackstar", prompt="Another")
    assert "about 1 s left" in live(asking.get(url).text)


def test_answered(asking: TestClient, ask_engine: Engine) -> None:
    url = ask(asking, k="25", task="facts")
    FakeWorker(ask_engine).work()
    answer = asking.get(url)
    assert answer.status_code == 303
    assert re.fullmatch(rf"/r/{re.escape(BOTH)}/q-[0-9a-f]{{16}}\?k=25", answer.headers["location"])
    assert asking.get(answer.headers["location"]).status_code == 200
    assert asking.get(f"{url}.json").json()["result_url"] == answer.headers["location"]
    again = ask(asking)
    assert again != url
    other_task = asking.get(again)
    assert other_task.status_code == 200, "asked without the task it is another question"


def test_the_same_question_is_answered_at_once(asking: TestClient, ask_engine: Engine) -> None:
    first = ask(asking)
    FakeWorker(ask_engine).work()
    second = ask(asking, k="50")
    assert asking.get(second).headers["location"] == asking.get(first).headers["location"] + "?k=50"


def test_failed(asking: TestClient, ask_engine: Engine) -> None:
    url = ask(asking, k="7", task="facts")
    worker = FakeWorker(ask_engine)
    while jobs := worker.claim():
        worker.fail(jobs[0], "<i>The disk</i> is full.")
    page = asking.get(url)
    assert page.status_code == 200
    assert "could not be answered" in page.text
    assert "&lt;i&gt;The disk&lt;/i&gt; is full." in page.text
    assert "meta http-equiv" not in page.text
    again = re.search(r'href="(/ask\?[^"]*)">Ask again', page.text)
    assert again is not None
    form = asking.get(html.unescape(again.group(1))).text
    assert ">\n Lima</textarea>" in form
    assert re.findall(r'name="method" value="([^"]*)" checked', form) == ["trackstar", "bm25"]
    assert 'max="100" value="7"' in form
    assert '<option value="facts" selected>' in form
    assert asking.get(f"{url}.json").json()["jobs"][0]["error"] == "<i>The disk</i> is full."


def test_failed_in_part(asking: TestClient, ask_engine: Engine) -> None:
    url = ask(asking)
    worker = FakeWorker(ask_engine)
    worker.fail(worker.claim()[0], "No.")
    worker.work()
    page = asking.get(url)
    assert page.status_code == 200, "a reader is not sent past the failure"
    assert "Part of your question" in page.text
    assert 'href="/r/bm25-abc000000001/q-' in page.text
    assert "answered in part" in asking.get("/questions").text


def test_cancelled(asking: TestClient, ask_engine: Engine) -> None:
    url = ask(asking)
    answer = asking.post(f"{url}/cancel")
    assert (answer.status_code, answer.headers["location"]) == (303, url)
    page = asking.get(url)
    assert "was cancelled" in page.text
    assert "/cancel" not in page.text
    assert "hx-sse" not in page.text
    assert FakeWorker(ask_engine).work() == 0
    assert asking.post(f"{url}/cancel").status_code == 303, "once more changes nothing"
    assert asking.get(f"{url}.json").json()["state"] == "cancelled"
    assert 'class="badge cancelled">cancelled' in asking.get("/questions").text


def test_only_the_asker_cancels(asking: TestClient, ask_engine: Engine, ask_home: Path) -> None:
    url = ask(asking)
    with TestClient(create_app(settings_for(ask_home)), follow_redirects=False) as stranger:
        page = stranger.get(url)
        assert page.status_code == 200
        assert "/cancel" not in page.text
        assert stranger.post(f"{url}/cancel").status_code == 403
        assert stranger.post(f"{url}/cancel", headers={"Cookie": f"reader={'x' * 43}"}).status_code == 403
        programs = stranger.post(
            "/api/v1/questions", json={"prompt": "Two and two is", "completion": "four", "method": "bm25"}
        ).json()["url"]
        assert stranger.post(f"{programs}/cancel").status_code == 403
    assert asking.get(f"{url}.json").json()["state"] == "queued"


def test_head_of_a_stream_ends(asking: TestClient) -> None:
    answer = asking.head(f"{ask(asking)}/events")
    assert (answer.status_code, answer.content) == (200, b"")


def test_cancelled_while_another_reader_waits(asking: TestClient, ask_engine: Engine, ask_home: Path) -> None:
    url = ask(asking, method="bm25")
    with TestClient(create_app(settings_for(ask_home)), follow_redirects=False) as other:
        theirs = ask(other, method="bm25")
        asking.post(f"{url}/cancel")
        assert "was cancelled" in asking.get(url).text
        FakeWorker(ask_engine).work()
        assert other.get(theirs).status_code == 303
    page = asking.get(url)
    assert page.status_code == 200
    assert "See the passages" in page.text


@pytest.mark.parametrize("name", ["nothing", "0" * 24, "%00", "%ED%A0%80", "💧", "a" * 3000, "a.b"])
def test_unknown(asking: TestClient, name: str) -> None:
    for url in (f"/jobs/{name}", f"/jobs/{name}.json", f"/jobs/{name}/events"):
        answer = asking.get(url)
        assert answer.status_code == 404, url
    assert asking.post(f"/jobs/{name}/cancel").status_code == 404
    assert asking.get("/jobs/nothing").headers["cache-control"] == "no-store"


# --- completions


def test_the_models_completions_are_offered(asking: TestClient, ask_engine: Engine) -> None:
    url = ask(asking, by="model", task="facts", k="25")
    FakeWorker(ask_engine).work()
    page = asking.get(url)
    assert page.status_code == 200
    part = live(page.text)
    radios = re.findall(r'<input type="radio" name="completion" value="([^"]*)"([^>]*)>', part)
    assert radios == [(" Lima, on the coast.", " checked"), (" &lt;b&gt;Cusco&lt;/b&gt;.", ""), ("", " disabled")]
    assert "61 % · most likely, word by word · sampled 2 times" in part
    hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', part)
    chosen = [("completion", html.unescape(radios[1][0])), *hidden]
    fields = {name: [value for given, value in chosen if given == name] for name, _ in chosen}
    asked = asking.post("/ask", data=fields)
    assert asked.status_code == 303
    parameters = asking.get(f"{asked.headers['location']}.json").json()["asked"]
    assert parameters["completion"] == " <b>Cusco</b>."
    assert (parameters["methods"], parameters["task"], parameters["k"]) == (["trackstar", "bm25"], "facts", 25)
    own = asking.post("/ask", data={**fields, "other": " Arequipa"}).headers["location"]
    assert asking.get(f"{own}.json").json()["asked"]["completion"] == " Arequipa"


def test_nothing_can_be_chosen(asking: TestClient, ask_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"greedy": {"text": "", "probability": 0.9}, "samples": [{"text": " \n", "probability": None}]}
    monkeypatch.setattr("tests.app.fake_worker.COMPLETIONS", nothing)
    url = ask(asking, by="model")
    FakeWorker(ask_engine).work()
    part = live(asking.get(url).text)
    assert part.count(" disabled") == 2
    assert "checked" not in part
    refused = asking.post("/ask", data=PERU | {"completion": ""})
    assert refused.status_code == 422


# --- over PostgreSQL


@pytest.mark.postgres
def test_the_whole_way_over_postgresql(postgres_url: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path).model_copy(update={"database_url": postgres_url})
    engine = open_catalogue(settings)
    m.Base.metadata.create_all(engine)
    fill(engine, methods=("trackstar", "bm25"))
    with write_session(engine) as session:  # its rows brought their own keys
        for table in ("prompts", "rankings"):
            session.execute(text(f"SELECT setval('{table}_pk_seq', 1000000)"))
    add_tokenizer(tmp_path)
    with TestClient(create_app(settings), follow_redirects=False) as client:
        url = ask(client)
        assert "waiting, next in line" in client.get(url).text
        FakeWorker(engine).work()
        answer = client.get(url).headers["location"]
        page = client.get(answer)
        assert page.text.count('class="column"') == 2
        slug = answer.rpartition("/")[2]
        patched = client.post(f"/questions/{slug}/tail-patch", data={"run": TRACKSTAR}).headers["location"]
        FakeWorker(engine).work()
        assert client.get(f"{patched}/events").text.endswith("event: done\ndata: done\n\n")
        assert "Mean of this list" in client.get(client.get(patched).headers["location"]).text
        assert client.get("/questions").text.count('class="row-link"') == 2
        wordless = ask(client, prompt="💧", completion=" 💧")
        FakeWorker(engine).work()
        assert client.get(client.get(wordless).headers["location"]).status_code == 200
        for bad in ("a\0b", "\0", "", "💧"):
            assert client.post("/ask", data={**PERU, "prompt": bad, "query_set": bad}).status_code == 422
            assert client.post("/ask", data={**PERU, "method": bad, "task": bad}).status_code == 422
            assert client.post(f"/questions/{slug}/tail-patch", data={"run": bad}).status_code == 422
        for name in ("%00", "%ED%A0%80", "💧"):
            assert client.get(f"/jobs/{name}").status_code == 404
            assert client.post(f"/jobs/{name}/cancel").status_code == 404
            assert client.post(f"/questions/{name}/tail-patch", data={"run": TRACKSTAR}).status_code == 404
    engine.dispose()


# --- one's own


def test_own_questions(asking: TestClient, ask_engine: Engine, ask_home: Path) -> None:
    assert "Nothing was asked from this browser yet" in asking.get("/questions").text
    first = ask(asking, prompt="First <b>")
    FakeWorker(ask_engine).work()
    second = ask(asking, prompt="Second")
    third = ask(asking, prompt="Third", by="model")
    page = asking.get("/questions")
    assert page.headers["cache-control"] == "no-store"
    links = re.findall(r'class="row-link" href="([^"]*)"', page.text)
    assert links == [third, second, asking.get(first).headers["location"]]
    assert "First &lt;b&gt;" in page.text
    items = asking.get("/questions.json").json()["items"]
    assert [item["state"] for item in items] == ["queued", "queued", "done"]
    with TestClient(create_app(settings_for(ask_home))) as stranger:
        assert stranger.get("/questions.json").json() == {"items": [], "next": None}


def test_own_questions_page_by_page(asking: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ask.job_views.PAGE", 2)
    urls = [ask(asking, prompt=f"Question {number}", method="bm25") for number in range(5)][::-1]
    seen: list[str] = []
    address: str | None = "/questions.json"
    while address:
        found = asking.get(address).json()
        seen += [item["url"] for item in found["items"]]
        address = found["next"]
    assert seen == urls
    last = asking.get("/questions?page=3").text
    assert 'href="/questions?page=2"' in last
    assert "Older questions" not in last
    assert asking.get("/questions?page=9").status_code == 200
    for query in ("page=0", "page=x", "page=1000"):
        assert asking.get(f"/questions?{query}").status_code == 400
    assert asking.get("/questions.json?x=1").status_code == 400
