"""Bodies of questions: whatever is sent, the answer says what is wrong with it, and nothing breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.main import create_app
from tests.app.questions import QUESTION, URL, post, refused, settings_of
from tests.catalogue.factories import TinyHome, tiny_home


@pytest.fixture
def tiny(tmp_path: Path) -> TinyHome:
    return tiny_home(tmp_path)


@pytest.fixture
def client(tiny: TinyHome) -> Iterator[TestClient]:
    with TestClient(create_app(settings_of(tiny.home.root)), follow_redirects=False) as made:
        yield made


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["prompt", "method"]),
        ([], ["body"]),
        ("text", ["body"]),
        (1, ["body"]),
        ({**QUESTION, "more": 1}, ["more"]),
        ({**QUESTION, "\0more" * 50: 1}, [f"{('�more' * 50)[:100]}…"]),
        ({**QUESTION, "prompt": 1}, ["prompt"]),
        ({**QUESTION, "prompt": None}, ["prompt"]),
        ({**QUESTION, "completion": ["x"]}, ["completion"]),
        ({**QUESTION, "method": "x" * 101}, ["method"]),
        ({**QUESTION, "k": 0}, ["k"]),
        ({**QUESTION, "k": 101}, ["k"]),
        ({**QUESTION, "k": "10"}, ["k"]),
        ({**QUESTION, "k": True}, ["k"]),
        ({**QUESTION, "k": 1.5}, ["k"]),
        ({**QUESTION, "k": None}, ["k"]),
    ],
)
def test_bodies_of_another_form(client: TestClient, body: Any, fields: list[str]) -> None:
    assert refused(post(client, body), 400) == fields


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe{}",
        '{"prompt": "\xe9"}'.encode("latin-1"),
        json.dumps(QUESTION).encode("utf-16"),
        b'{"a": 1, "a": 2}',
        b'{"\\ud800": 1, "\\ud800": 2}',
        b'{"k": NaN}',
        b'{"k": -Infinity}',
        b'{"k": ' + b"9" * 10_000 + b"}",
        b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000,
    ],
    ids=lambda content: repr(content[:20]),
)
def test_bodies_that_are_not_json(client: TestClient, content: bytes) -> None:
    answer = client.post(URL, content=content, headers={"Content-Type": "application/json"})
    assert refused(answer, 400) == ["body"]


def test_a_field_named_by_half_a_character(client: TestClient) -> None:
    text = json.dumps(QUESTION)[:-1] + ', "\\udfff": 1}'
    answer = client.post(URL, content=text, headers={"Content-Type": "application/json"})
    assert refused(answer, 400) == ["body"]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "json", "application/xml"])
def test_bodies_of_another_type(client: TestClient, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    refused(client.post(URL, content=json.dumps(QUESTION), headers=headers), 415)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/merge+json"])
def test_names_of_json(client: TestClient, kind: str) -> None:
    with_mark = b"\xef\xbb\xbf" + json.dumps(QUESTION).encode()
    assert client.post(URL, content=with_mark, headers={"Content-Type": kind}).status_code == 202


def test_bodies_that_are_too_long(client: TestClient) -> None:
    refused(post(client, prompt="x" * 1_000_000), 413)
    chunks = (b'{"prompt": "' + b"x" * 400_000 for _ in range(4))
    refused(client.post(URL, content=chunks, headers={"Content-Type": "application/json"}), 413)
    page = client.post("/theme?to=dark", content=b"x" * 1_000_001, headers={"Accept": "text/html"})
    assert page.status_code == 413
    assert "<h1>" in page.text


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
LIKELY = st.fixed_dictionaries(
    {
        "prompt": st.text() | JSON_VALUES,
        "completion": st.none() | st.text(),
        "method": st.sampled_from(["bm25", "trackstar"]) | st.text(),
    },
    optional={"task": st.none() | st.text(), "k": st.integers() | JSON_VALUES, "query_set": st.text()},
)


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(body=LIKELY | JSON_VALUES, key=st.none() | st.text(st.characters(codec="latin-1"), max_size=20))
def test_no_json_breaks_it(client: TestClient, body: Any, key: str | None) -> None:
    headers = {"Content-Type": "application/json"}
    if key is not None and key.isprintable():
        headers["Idempotency-Key"] = key
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    answer = client.post(URL, content=json.dumps(body).encode(), headers=raw)
    assert answer.status_code in (200, 202, 400, 422)
    if answer.status_code >= 400:
        assert refused(answer, answer.status_code)


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary() | st.text(st.characters(codec="utf-8")).map(str.encode))
def test_no_body_breaks_it(client: TestClient, content: bytes) -> None:
    answer = client.post(URL, content=content, headers={"Content-Type": "application/json"})
    assert refused(answer, 400)
