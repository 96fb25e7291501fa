"""The form for a question of one's own: what can be asked, what is refused and why, and who asked."""

from __future__ import annotations

import hashlib
import html
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from sqlalchemy import Engine, select
from starlette.testclient import TestClient

from app.ask.asking import BUSY_SECONDS
from app.main import create_app
from backend.catalogue.database import read_session
from backend.catalogue.models import Ask, Job
from tests.app.addresses import TRACKSTAR
from tests.app.example_catalogue import settings_for
from tests.app.fake_worker import CONTEXT, MODEL, FakeWorker

BM25 = "bm25-abc000000001"
QUERY_SET = "9ae500000001"
PERU = {"prompt": "The capital of Peru is", "completion": " Lima", "method": ["trackstar", "bm25"]}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def asked_of(engine: Engine) -> list[dict[str, Any]]:
    """The parameters of all asks."""
    with read_session(engine) as session:
        return [row.parameters for row in session.scalars(select(Ask).order_by(Ask.created_at))]


# --- the form


def test_the_form_offers_what_there_is(asking: TestClient) -> None:
    page = asking.get("/ask")
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    assert re.findall(r'name="method" value="([^"]*)"( checked)?', page.text) == [
        ("trackstar", " checked"),
        ("bm25", ""),
    ]
    assert "none: R over the corpus alone" in page.text
    assert "Only Facts and Wrong predictions mix" in page.text
    assert 'name="query_set"' not in page.text, "one model and corpus need no choice"
    assert 'href="/ask" aria-current="true"' in page.text
    assert f"<strong>1</strong> of {CONTEXT} tokens" in page.text


def test_the_form_is_filled_in_from_the_address(asking: TestClient) -> None:
    query = {"prompt": "\nTwo\nlines <b>", "completion": " x", "method": "bm25", "task": "facts", "k": 25, "samples": 3}
    text = asking.get(f"/ask?{urlencode(query)}").text
    assert "<textarea" in text
    assert ">\n\nTwo\nlines &lt;b&gt;</textarea>" in text, "a browser drops the first line feed"
    assert ">\n x</textarea>" in text
    assert re.findall(r'name="method" value="([^"]*)" checked', text) == ["bm25"]
    assert '<option value="facts" selected>' in text
    assert 'name="k" min="1" max="100" value="25"' in text
    assert 'value="model" checked' not in text
    assert 'value="model" checked' in asking.get("/ask?by=model").text


@pytest.mark.parametrize("query", ["k=0", "k=101", "k=x", "samples=9", "by=nobody", "prompt=%00", "k=1&k=2"])
def test_a_bad_address_is_told(asking: TestClient, query: str) -> None:
    assert asking.get(f"/ask?{query}").status_code == 400


@pytest.mark.parametrize("query", ["task=zzz", "method=zzz", "query_set=zzz", "prompt=%ED%A0%80", "prompt=%FF", "x=1"])
def test_what_is_not_there_is_left_out(asking: TestClient, query: str) -> None:
    assert asking.get(f"/ask?{query}").status_code == 200


def test_the_worker_is_missed(asking: TestClient, ask_engine: Engine) -> None:
    assert "No worker is running" in asking.get("/ask").text
    worker = FakeWorker(ask_engine)
    assert "No worker is running" not in asking.get("/ask").text
    worker.leave()
    assert "proponent worker" in asking.get("/ask").text


def test_nothing_to_ask_about(home_of_its_own: tuple[Engine, TestClient], bare: TestClient) -> None:
    for client in (home_of_its_own[1], bare):
        page = client.get("/ask")
        assert page.status_code == 200
        assert "nothing to ask about yet" in page.text
        assert "proponent demo" in page.text
        assert "<textarea" not in page.text
        assert client.post("/ask", data=PERU).status_code == 422
        assert client.post("/ask/tokens", data=PERU).status_code == 200
        assert client.get("/questions").status_code == 200
        assert client.get("/jobs/abc").status_code == 404


def test_asking_is_switched_off(ask_engine: Engine, ask_home: Path) -> None:
    settings = settings_for(ask_home).model_copy(update={"asking": "nobody"})
    with TestClient(create_app(settings), follow_redirects=False) as client:
        page = client.get("/ask")
        assert page.status_code == 200
        assert "switched off" in page.text
        assert "<textarea" not in page.text
        assert client.post("/ask", data=PERU).status_code == 403
        assert client.post("/ask/tokens", data=PERU).status_code == 403
        assert client.post("/questions/q-1/tail-patch", data={"run": BM25}).status_code == 403
        assert "Ask about a variation" not in client.get("/prompts/capital-peru").text


def test_a_choice_of_subjects_where_there_are_several(asking: TestClient, ask_engine: Engine) -> None:
    from backend.catalogue import models as m
    from backend.catalogue.database import write_session

    with write_session(ask_engine) as session:
        old = session.get_one(m.QuerySet, QUERY_SET)
        new = m.QuerySet(id="own", name="Own", corpus_id=old.corpus_id, created_at=old.created_at, manifest={})
        session.add(new)
        session.flush()
        run = session.get_one(m.Run, BM25)
        values = {"method": "length", "corpus_id": run.corpus_id, "query_set_id": "own", "manifest": {}}
        session.add(m.Run(id="length-1", created_at=run.created_at, **values))
    text = asking.get("/ask").text
    assert 'name="query_set"' in text
    assert "Only for no model over Demonstration (Own)" in text
    refused = asking.post("/ask", data={**PERU, "query_set": "own"})
    assert refused.status_code == 422
    assert "has no run here; there are length" in refused.text
    assert asking.post("/ask", data={**PERU, "query_set": "own", "method": "length"}).status_code == 303
    unknown = asking.post("/ask", data={**PERU, "query_set": "nothing"})
    assert "is not among those that can be asked about" in unknown.text


def test_every_prompt_leads_to_a_variation(asking: TestClient) -> None:
    found = re.search(r'href="(/ask\?[^"]*)"[^>]*>Ask about a variation', asking.get("/prompts/capital-peru").text)
    assert found is not None
    text = asking.get(html.unescape(found.group(1))).text
    assert ">\nThe capital of Peru is</textarea>" in text
    assert ">\n Lima</textarea>" in text
    assert '<option value="facts" selected>' in text


# --- asking


def test_asking_leads_to_the_job(asking: TestClient, ask_engine: Engine) -> None:
    answer = asking.post("/ask", data={**PERU, "task": "facts", "k": "25"})
    assert answer.status_code == 303
    assert re.fullmatch(r"/jobs/[0-9a-f]{24}", answer.headers["location"])
    assert answer.headers["cache-control"] == "no-store"
    kept = {"methods": ["trackstar", "bm25"], "task": "facts", "k": 25, "query_set": QUERY_SET}
    assert asked_of(ask_engine) == [{"prompt": "The capital of Peru is", "completion": " Lima", **kept}]
    with read_session(ask_engine) as session:
        jobs = session.scalars(select(Job).order_by(Job.run_id)).all()
    assert [(job.kind, job.run_id, job.model_id) for job in jobs] == [("rank", BM25, None), ("rank", TRACKSTAR, MODEL)]
    assert jobs[0].parameters == {"prompt": PERU["prompt"], "completion": " Lima", "task": "facts", "k": 25}


def test_the_model_completes_first(asking: TestClient, ask_engine: Engine) -> None:
    answer = asking.post("/ask", data={**PERU, "by": "model", "samples": "3", "completion": "ignored"})
    assert answer.status_code == 303
    with read_session(ask_engine) as session:
        job = session.scalars(select(Job)).one()
    assert (job.kind, job.run_id, job.parameters) == ("complete", None, {"prompt": PERU["prompt"], "samples": 3})
    assert asked_of(ask_engine)[0] | {"completion": None, "samples": 3} == asked_of(ask_engine)[0]


def test_line_ends_are_those_that_were_typed(asking: TestClient, ask_engine: Engine) -> None:
    asking.post("/ask", data={**PERU, "prompt": "One\r\nTwo", "completion": "\r\nThree"})
    assert (asked_of(ask_engine)[0]["prompt"], asked_of(ask_engine)[0]["completion"]) == ("One\nTwo", "\nThree")


@pytest.mark.parametrize("text", ["💧🏔️ of Peru", "عاصمة بيرو", "‮abc", "ペルー", "e\u0301", "<script>alert(1)</script>"])
def test_any_script_can_be_asked(asking: TestClient, ask_engine: Engine, text: str) -> None:
    answer = asking.post("/ask", data={**PERU, "prompt": text, "completion": f" {text}"})
    assert answer.status_code == 303
    assert asked_of(ask_engine)[0]["prompt"] == text
    page = asking.get(answer.headers["location"])
    assert page.status_code == 200
    assert "<script>alert" not in page.text


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no prompt": ({"prompt": ""}, "prompt", "The prompt is empty."),
    "no completion": ({"completion": ""}, "completion", "The completion is empty."),
    "spaces": ({"prompt": "  \n "}, "prompt", "The prompt is white space alone."),
    "NUL": ({"prompt": "a\0b"}, "prompt", "The prompt holds a NUL character"),
    "NUL completion": ({"completion": "\0"}, "completion", "The completion holds a NUL character"),
    "100 kB": ({"prompt": "x" * 100_000}, "prompt", "The prompt has 100,000 characters; at most 20,000 are taken."),
    "too many tokens": ({"prompt": "zq " * 60}, "prompt", f"this model takes {CONTEXT}"),
    "no token": ({"prompt": "The capital of Peru is ", "completion": "Lima"}, "completion", "no token of its own"),
    "no method": ({"method": []}, "method", "Choose at least one method."),
    "unknown method": ({"method": "zz<b>"}, "method", "“zz<b>” has no run here; there are"),
    "unknown task": ({"task": "zzz"}, "task", "“zzz” is no task"),
    "k of 0": ({"k": "0"}, "k", "The number of passages must be a whole number from 1 to 100."),
    "k of 101": ({"k": "101"}, "k", "from 1 to 100"),
    "k in words": ({"k": "ten"}, "k", "from 1 to 100"),
    "k that is no ASCII digit": ({"k": "²"}, "k", "from 1 to 100"),
    "very long k": ({"k": "1" * 5000}, "k", "from 1 to 100"),
    "samples": (
        {"by": "model", "samples": "9"},
        "samples",
        "The number of samples must be a whole number from 1 to 8.",
    ),
    "two prompts": ({"prompt": ["a", "b"]}, "prompt", "The prompt is given more than once."),
    "two ks": ({"k": ["1", "2"]}, "k", "is given more than once."),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_stands_beside_its_field(asking: TestClient, ask_engine: Engine, case: str) -> None:
    changed, field, message = BAD[case]
    given = {**PERU, "task": "facts", "k": "25", **changed}
    answer = asking.post("/ask", data=given)
    assert answer.status_code == 422
    assert answer.headers["cache-control"] == "no-store"
    fault = re.search(rf'<p class="fault" id="{field}-fault"[^>]*>(.*?)</p>', answer.text, re.S)
    assert fault is not None
    assert message in html.unescape(fault.group(1))
    assert f"{field}-fault" in " ".join(re.findall(r'aria-describedby="([^"]*)"', answer.text))
    assert answer.text.count(" autofocus") == 1
    for name in ("prompt", "completion"):  # what was typed is kept
        if isinstance(given[name], str) and "\0" not in given[name]:
            assert f">\n{html.escape(given[name])}</textarea>" in answer.text
    assert asked_of(ask_engine) == []
    as_json = asking.post("/ask", data=given, headers={"accept": "application/json"})
    assert as_json.status_code == 422
    assert field in {error["field"] for error in as_json.json()["errors"]}


@pytest.mark.parametrize("raw", ["%ED%A0%80", "%FF", "%C3", "%F4%90%80%80", "\udced".encode("utf-8", "surrogatepass")])
def test_bytes_that_are_no_text(asking: TestClient, raw: str | bytes) -> None:
    prompt = raw if isinstance(raw, bytes) else raw.encode()
    body = b"prompt=a" + prompt + b"&completion=%20b&method=bm25&k=10&task=%ED%A0%80&query_set="
    answer = asking.post("/ask", content=body, headers=FORM)
    assert answer.status_code == 422
    assert "half of a character" in answer.text
    assert asking.post("/ask/tokens", content=body, headers=FORM).status_code == 200


@pytest.mark.parametrize("field", ["method", "k", "by", "samples", "query_set", "task"])
def test_no_field_takes_the_page_down(asking: TestClient, field: str) -> None:
    for raw in ("%00", "%ED%A0%80", "%FF", quote("💧" * 50), "x" * 10_000):
        rest = "&".join(f"{name}={quote(str(value))}" for name, value in PERU.items() if name != field)
        answer = asking.post("/ask", content=f"{rest}&{field}={raw}", headers=FORM)
        assert answer.status_code in (303, 422), (field, raw)


def test_other_bodies(asking: TestClient) -> None:
    assert asking.post("/ask", json=PERU).status_code == 415
    assert asking.post("/ask").status_code == 422
    assert asking.post("/ask", content="a=1&" * 500, headers=FORM).status_code == 400
    assert asking.post("/ask", content=b"x" * 1_000_001, headers=FORM).status_code == 413
    assert asking.post("/ask", data=PERU, headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_a_full_queue(ask_engine: Engine, ask_home: Path) -> None:
    settings = settings_for(ask_home).model_copy(update={"queued_questions": 1})
    with TestClient(create_app(settings), follow_redirects=False) as client:
        assert client.post("/ask", data={**PERU, "method": "bm25"}).status_code == 303
        full = client.post("/ask", data={**PERU, "method": "trackstar"})
        assert full.status_code == 503
        assert full.headers["retry-after"] == str(BUSY_SECONDS)


# --- tokens


def test_tokens_are_counted_while_typing(asking: TestClient) -> None:
    part = {"HX-Request-Type": "partial"}
    few = asking.post("/ask/tokens", data=PERU, headers=part)
    assert few.status_code == 200
    assert re.search(rf"<strong>\d+</strong> of {CONTEXT} tokens", few.text)
    assert "<html" not in few.text
    assert "completion not counted" in asking.post("/ask/tokens", data={**PERU, "by": "model"}).text
    over = asking.post("/ask/tokens", data={**PERU, "prompt": "zq " * 80})
    assert f"the model takes {CONTEXT}" in over.text
    assert asking.post("/ask/tokens", data={"prompt": "a\0" + "x" * 100_000}).status_code == 200


# --- who asks


def test_the_reader_is_a_hash(asking: TestClient, ask_engine: Engine) -> None:
    answer = asking.post("/ask", data=PERU)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("reader=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=31536000" in cookie
    assert "Secure" not in cookie
    secret = cookie.partition("=")[2].partition(";")[0]
    assert len(secret) >= 32
    digest = hashlib.sha256(secret.encode()).hexdigest()
    again = asking.post("/ask", data={**PERU, "completion": "Cusco"})
    assert "set-cookie" not in again.headers
    with read_session(ask_engine) as session:
        assert {row.reader for row in session.scalars(select(Ask))} == {digest}
        turns = [row.asked_by or "" for row in session.scalars(select(Job).order_by(Job.created_at))]
    assert turns[0].startswith("address:"), "a cookie that was set just now is nobody yet"
    assert turns[-1] == f"reader:{digest}"


def test_throwing_the_cookie_away_gains_no_turn(asking: TestClient, ask_engine: Engine) -> None:
    for number in range(3):
        asking.cookies.clear()
        asking.post("/ask", data={**PERU, "completion": f"Lima {number}"})
        asking.post(
            "/ask", data={**PERU, "completion": f"Cusco {number}"}, headers={"Cookie": f"reader={'x' * 42}{number}"}
        )
    with read_session(ask_engine) as session:
        assert len({row.asked_by for row in session.scalars(select(Job))}) == 1


def test_the_cookie_is_safest_on_https(ask_engine: Engine, ask_home: Path) -> None:
    with TestClient(
        create_app(settings_for(ask_home)), base_url="https://testserver", follow_redirects=False
    ) as client:
        cookie = client.post("/ask", data=PERU).headers["set-cookie"]
        assert cookie.startswith("__Host-reader=")
        assert "Secure" in cookie
        assert "Path=/" in cookie


@pytest.mark.parametrize("value", ["", "short", "x" * 200, "a b" * 20, "../" * 12])
def test_a_made_up_cookie_is_replaced(asking: TestClient, value: str) -> None:
    answer = asking.post("/ask", data=PERU, headers={"cookie": f"reader={value}"})
    assert answer.status_code == 303
    assert answer.headers["set-cookie"].startswith("reader=")
