"""Entity tags on JSON: which answers have one, and what If-None-Match makes of it."""

from __future__ import annotations

import httpx2 as httpx
import pytest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.testclient import TestClient

from app.http.etags import EntityTags, is_known, tag_of
from tests.app.addresses import JSON, TRACKSTAR

API = ("/api/v1/prompts", "/api/v1/prompts/capital-peru", f"/api/v1/runs/{TRACKSTAR}", "/api/v1/methods")


@pytest.mark.parametrize("url", [*JSON, *API, "/api/v1/openapi.json"])
def test_json_has_a_tag_and_is_not_sent_twice(client: TestClient, url: str) -> None:
    first = client.get(url)
    tag = first.headers["etag"]
    assert first.status_code == 200
    assert tag == tag_of(first.content)
    assert first.headers["cache-control"] == "no-cache"
    again = client.get(url, headers={"If-None-Match": tag})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == tag
    assert again.headers["cache-control"] == "no-cache"
    assert "content-type" not in again.headers
    assert "content-length" not in again.headers
    assert "content-security-policy" in again.headers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        ("*", 304),
        (" * ", 304),
        ('"other", {tag}', 304),
        ('W/"other",W/{tag} , "third"', 304),
        ('"a,b", {tag}', 304),
        ('"other"', 200),
        ('W/"other"', 200),
        ("", 200),
        ('"', 200),
        ("nothing quoted", 200),
        ('"*"', 200),
        ('"other", *', 200),
    ],
)
def test_if_none_match(client: TestClient, method: str, asked: str, status: int) -> None:
    url = "/api/v1/runs"
    body = client.get(url).content
    tag = tag_of(body)
    answer = client.request(method, url, headers={"If-None-Match": asked.replace("{tag}", tag)})
    assert answer.status_code == status
    assert answer.headers["etag"] == tag
    assert answer.content == (body if (method, status) == ("GET", 200) else b"")
    if status == 200:
        assert int(answer.headers["content-length"]) == len(body)


def test_a_header_that_comes_several_times_is_one_list(client: TestClient) -> None:
    tag = client.get("/api/v1/runs").headers["etag"]
    answer = client.get("/api/v1/runs", headers=[("If-None-Match", '"other"'), ("If-None-Match", tag)])
    assert answer.status_code == 304


def test_the_tag_follows_the_answer(client: TestClient) -> None:
    tags = {client.get(f"/api/v1/prompts?limit={limit}").headers["etag"] for limit in (1, 2, 3)}
    assert len(tags) == 3


@pytest.mark.parametrize("url", ["/api/v1/prompts/nobody", "/api/v1/prompts?x=1", "/prompts/nobody.json", "/nothing"])
def test_errors_have_none(client: TestClient, url: str) -> None:
    answer = client.get(url, headers={"If-None-Match": "*"})
    assert answer.status_code in (400, 404)
    assert "etag" not in answer.headers
    assert client.delete("/api/v1/runs", headers={"If-None-Match": "*"}).status_code == 405


def test_pages_and_exports_have_none(client: TestClient) -> None:
    for url in ("/runs", "/prompts.jsonl", "/prompts.csv"):
        answer = client.get(url, headers={"If-None-Match": "*"})
        assert answer.status_code == 200
        assert "etag" not in answer.headers


def test_a_quoted_comma_does_not_part_tags() -> None:
    assert is_known('"a,b"', '"x", "a,b"')
    assert not is_known('"b"', '"a,b"')
    assert not is_known('"a"', '"A"')


def _answer(response: Response, asked: str = "*") -> httpx.Response:
    """What the wrapper makes of a response."""
    return TestClient(EntityTags(response)).get("/", headers={"If-None-Match": asked})


def test_streamed_json_passes_as_it_is() -> None:
    sent = _answer(StreamingResponse(iter(["[1,", "2]"]), media_type="application/json"))
    assert (sent.status_code, sent.json()) == (200, [1, 2])
    assert "etag" not in sent.headers


def test_a_tag_and_a_policy_that_are_there_stay() -> None:
    headers = {"ETag": '"own"', "Cache-Control": "no-store", "Vary": "Accept", "X-More": "1"}
    sent = _answer(JSONResponse([1], headers=headers), '"own"')
    assert (sent.status_code, sent.content) == (304, b"")
    assert dict(sent.headers) == {"etag": '"own"', "cache-control": "no-store", "vary": "Accept"}


def test_json_of_another_status_passes() -> None:
    sent = _answer(JSONResponse([1], 201))
    assert sent.status_code == 201
    assert "etag" not in sent.headers
