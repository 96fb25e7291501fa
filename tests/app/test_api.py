"""The API: the data of the twins, lists that can be walked, errors, and a description that is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.exceptions import ResponseValidationError
from pydantic import TypeAdapter
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from sqlalchemy import Engine, insert
from starlette.testclient import TestClient

from app.api import views
from app.api.openapi import COMMON, ERRORS, EXAMPLES
from app.api.routes import description, router
from app.api.schemas.problems import Problem
from app.main import create_app
from app.methods_text import METHOD_TEXTS
from backend.catalogue.database import open_catalogue, write_session
from backend.catalogue.models import Base, Corpus, Passage
from backend.settings import Settings
from tests.app.addresses import BM25, TRACKSTAR
from tests.app.example_catalogue import ALL_METHODS, MADE, fill, settings_for

TWINS = (
    ("/prompts?limit=200", "/prompts.json?limit=200"),
    ("/prompts?q=peru&task=facts&bucket=5-9,50%2B&sort=most-stated", None),
    ("/prompts/capital-peru?k=100", "/prompts/capital-peru.json?k=100"),
    ("/prompts/story-2?methods=bm25,random&k=3", "/prompts/story-2.json?methods=bm25,random&k=3"),
    ("/prompts/hostile-0", "/prompts/hostile-0.json"),
    ("/passages/fact/capital/peru/0?limit=500", "/passages/fact/capital/peru/0.json?limit=500"),
    ("/passages/hostile/0", "/passages/hostile/0.json"),
    ("/runs", "/runs.json"),
    (f"/runs/{TRACKSTAR}", f"/runs/{TRACKSTAR}.json"),
    (f"/runs/{BM25}", f"/runs/{BM25}.json"),
)
API = (
    "/api/v1/prompts",
    "/api/v1/prompts/capital-peru",
    "/api/v1/passages",
    "/api/v1/passages/factbook/peru/0",
    "/api/v1/runs",
    f"/api/v1/runs/{TRACKSTAR}",
    "/api/v1/methods",
    "/api/v1/methods/trackstar",
)


@pytest.mark.parametrize(("url", "twin"), TWINS)
def test_answers_are_those_of_the_twins(client: TestClient, url: str, twin: str | None) -> None:
    path, _, query = url.partition("?")
    twin = twin or f"{path}.json?{query}"
    answer = client.get(f"/api/v1{url}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == client.get(twin).json()


@pytest.mark.parametrize("url", ["/prompts?task=arithmetic&limit=7", "/runs?limit=2", "/passages?limit=200"])
def test_lists_are_walked_by_next(client: TestClient, url: str) -> None:
    following: str | None = f"/api/v1{url}"
    path = following.partition("?")[0]
    seen: list[str] = []
    while following:
        assert following.startswith(f"{path}?")
        page = client.get(following).json()
        assert set(page) == {"items", "next", "total"} | ({"metrics"} if "prompts" in url else set())
        seen += [item.get("slug") or item["id"] for item in page["items"]]
        following = page["next"]
    assert len(seen) == len(set(seen)) == page["total"] > 2


def test_passages_of_a_source(client: TestClient) -> None:
    source = quote("CIA World Factbook")
    page = client.get(f"/api/v1/passages?source={source}&limit=2").json()
    assert page["total"] == 48
    assert {item["source"] for item in page["items"]} == {"CIA World Factbook"}
    assert f"source={source}&corpus=c0ffee000001&after=" in page["next"]
    positions = [item["position"] for item in client.get(f"/api/v1/passages?source={source}&limit=48").json()["items"]]
    assert positions == sorted(positions)
    one = page["items"][0]
    assert set(one) == {"id", "corpus", "position", "source", "title", "url", "license", "group", "text"}
    whole = client.get(f"/api/v1/passages/{one['id']}").json()
    assert {name: whole[name] for name in one if name != "group"} == {k: v for k, v in one.items() if k != "group"}
    assert client.get("/api/v1/passages?source=nowhere").json() == {"items": [], "next": None, "total": 0}


def test_passages_are_of_the_newest_corpus(home_of_its_own: tuple[Engine, TestClient]) -> None:
    engine, client = home_of_its_own
    fill(engine, methods=())
    with write_session(engine) as session:
        newer = MADE.replace(year=2027)
        session.add(Corpus(id="newer", created_at=newer, manifest={}, name="Newer", passage_count=1))
        session.flush()
        row = {"passage_id": "factbook/peru/0", "text": "new", "source": "", "content_hash": ""}
        session.execute(insert(Passage).values(corpus_id="newer", position=0, **row))
    page = client.get("/api/v1/passages").json()
    assert [(item["corpus"], item["text"]) for item in page["items"]] == [("newer", "new")]
    older = client.get("/api/v1/passages?corpus=c0ffee000001&limit=1").json()
    assert older["total"] > 1
    assert client.get(older["next"]).json()["items"][0]["corpus"] == "c0ffee000001"
    assert client.get("/api/v1/passages/factbook/peru/0").json()["corpus"] == "newer"


def test_methods(client: TestClient) -> None:
    page = client.get("/api/v1/methods").json()
    slugs = [item["slug"] for item in page["items"]]
    assert set(slugs) == {*METHOD_TEXTS, *ALL_METHODS}
    assert slugs[:2] == ["trackstar", "trackstar-general"]
    assert (page["next"], page["total"]) == (None, len(slugs))
    means = client.get("/index.json").json()["methods"]
    for item in page["items"]:
        assert client.get(f"/api/v1/methods/{item['slug']}").json() == item
        assert item["metrics"] == ({"facts": means[item["slug"]]} if item["slug"] in means else {})
        assert [run["method"] for run in item["runs"]] == [item["slug"]] * (item["slug"] in ALL_METHODS)
    assert [item["looks_at_model"] for item in page["items"] if item["slug"] in ("bm25", "trackstar")] == [True, False]


def test_ids_of_any_form(client: TestClient) -> None:
    whole = client.get("/api/v1/passages/factbook/peru/0").json()
    assert client.get("/api/v1/passages/factbook%2Fperu%2F0").json() == whole
    assert client.get("/api/v1/passages/factbook/peru/0?corpus=c0ffee000001").json() == whole


@pytest.mark.parametrize("url", API)
def test_an_empty_installation_answers(bare: TestClient, url: str) -> None:
    listed = url.count("/") == 3
    known = listed or url.endswith("/methods/trackstar")
    answer = bare.get(url)
    assert answer.status_code == (200 if known else 404)
    if listed and not url.endswith("/methods"):
        assert (answer.json()["items"], answer.json()["total"]) == ([], 0)


# --- errors


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("/prompts?task=zzz&nonsense=1", {"task", "nonsense"}),
        ("/prompts?limit=201", {"limit"}),
        ("/prompts?after=nobody", {"after"}),
        ("/prompts/capital-peru?methods=nonsense", {"methods"}),
        ("/prompts/capital-peru?k=0&x=1", {"k", "x"}),
        ("/passages?limit=201", {"limit"}),
        ("/passages?corpus=none", {"corpus"}),
        ("/passages?after=nobody", {"after"}),
        ("/passages?task=facts", {"task"}),
        ("/passages/factbook/peru/0?limit=501", {"limit"}),
        ("/runs?after=nobody", {"after"}),
        (f"/runs/{BM25}?x=1", {"x"}),
        ("/methods?x=1", {"x"}),
        ("/methods/trackstar?x=1", {"x"}),
        ("/openapi.json?x=1", {"x"}),
    ],
)
def test_wrong_parameters(client: TestClient, url: str, fields: set[str]) -> None:
    found = _problem(client, "GET", f"/api/v1{url}", 400)
    assert {error["field"] for error in found["errors"]} == fields


@pytest.mark.parametrize(
    "url", ["/prompts/nobody", "/passages/nobody", "/passages/", "/runs/x", "/methods/x", "/methods/a%00b", "", "/x"]
)
def test_names_of_nothing(client: TestClient, url: str) -> None:
    assert "errors" not in _problem(client, "GET", f"/api/v1{url}", 404)


@pytest.mark.parametrize("url", API)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods(client: TestClient, method: str, url: str) -> None:
    _problem(client, method, url, 405)
    assert client.request(method, url).headers["allow"] == "GET"


def test_a_catalogue_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "proponent.db").write_text("a secret, and not a database\n" * 100)
    with TestClient(create_app(settings_for(tmp_path))) as client:
        for url in API:
            assert "secret" not in json.dumps(_problem(client, "GET", url, 503))
            assert client.get(url).headers["retry-after"] == "5"


def _problem(client: TestClient, method: str, url: str, status: int) -> dict[str, Any]:
    answer = client.request(method, url, headers={"Accept": "text/html"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    Problem.model_validate(found)
    assert found["status"] == status
    return found


def test_what_is_sent_is_checked(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    right = client.get("/api/v1/methods/bm25").json()
    for wrong in ({**right, "title": 1}, {**right, "more": 1}, {k: v for k, v in right.items() if k != "runs"}):
        monkeypatch.setattr(views, "method_json", lambda session, slug, wrong=wrong: wrong)
        with pytest.raises(ResponseValidationError):
            client.get("/api/v1/methods/bm25")


# --- description

OPERATIONS = {
    operation["operationId"]: operation for item in description()["paths"].values() for operation in item.values()
}
PLACES = {
    operation["operationId"]: (method, path)
    for path, item in description()["paths"].items()
    for method, operation in item.items()
}


def test_the_description_is_openapi_3_1(client: TestClient) -> None:
    found = client.get("/api/v1/openapi.json").json()
    assert found == json.loads(json.dumps(description()))
    assert found["openapi"].startswith("3.1.")
    OPENAPI_31_VALIDATOR.validate(found)


def test_every_address_of_the_api_is_described_and_no_other(client: TestClient) -> None:
    served = {path.replace(":path", "") for path in client.app.paths if path.startswith("/api/")}  # type: ignore[attr-defined]
    assert set(description()["paths"]) == served - {"/api/v1/openapi.json"}
    assert sorted(method for method, _ in PLACES.values()) == [*["get"] * (len(served) - 1), "post"]


def test_every_reference_leads_somewhere() -> None:
    found = description()
    for reference in _references(found):
        place = found
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [one for value in node.values() for one in _references(value)]
    return [one for value in node for one in _references(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_complete(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    assert len(operation["tags"]) == 1
    for parameter in operation.get("parameters", ()):
        assert parameter["description"].endswith(".")
        assert parameter["schema"]["examples"]
    named = any(parameter["in"] == "path" for parameter in operation.get("parameters", ()))
    if PLACES[name][0] == "post":
        assert set(operation["responses"]) == {"200", "202", *ERRORS}
    else:
        assert set(operation["responses"]) == {"200", "304", *COMMON} | ({"404"} if named else set())


def test_every_field_is_described() -> None:
    body = OPERATIONS["askQuestion"]["requestBody"]["content"]["application/json"]["schema"]
    for name, schema in [*description()["components"]["schemas"].items(), ("body", body)]:
        assert schema["description"], name
        for field, described in schema["properties"].items():
            assert described.get("description"), f"{name}.{field}"


@pytest.mark.parametrize("route", router.routes, ids=lambda route: route.name)
def test_examples_are_answers(route: Any) -> None:
    if route.include_in_schema:
        example = OPERATIONS[route.operation_id]["responses"]["200"]["content"]["application/json"]["example"]
        TypeAdapter(route.response_model).validate_python(example)


def test_examples_of_errors_are_errors() -> None:
    examples = json.loads(EXAMPLES.read_text())
    assert set(examples) == {*OPERATIONS, *ERRORS}
    for status in ERRORS:
        assert Problem.model_validate(examples[status]).status == int(status)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if not name.endswith(("Question", "Questions"))])
def test_described_parameters_are_taken(client: TestClient, name: str) -> None:
    path, operation = PLACES[name][1], OPERATIONS[name]
    examples = {one["name"]: one["schema"]["examples"][0] for one in operation.get("parameters", ())}
    url = path.format(**examples)
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            value = examples[parameter["name"]]
            given = ",".join(value) if isinstance(value, list) else json.dumps(value).strip('"')
            assert client.get(url, params={parameter["name"]: given}).status_code == 200, parameter["name"]


# --- the page


def test_the_page_lists_every_address(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    for method, path in PLACES.values():
        assert f"{method.upper()} {path}<" in page.text
    assert "6 fields of the body" in page.text
    assert client.get("/docs?anything=1").status_code == 200


def test_only_the_page_may_show_images_from_its_style_sheet(client: TestClient) -> None:
    usual = client.get("/").headers["content-security-policy"]
    loosened = client.get("/docs").headers["content-security-policy"]
    assert loosened == usual.replace("img-src 'self'", "img-src 'self' data:")
    for url in ("/docs/", "/docs/x", "/docsx", "/api/v1/runs"):
        assert client.get(url).headers["content-security-policy"] == usual


# --- databases


@pytest.mark.postgres
def test_postgresql_answers_as_sqlite(postgres_url: str, client: TestClient, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path, database_url=postgres_url)  # type: ignore[call-arg]
    engine = open_catalogue(settings)
    Base.metadata.create_all(engine)
    fill(engine, with_hostile=True)
    with TestClient(create_app(settings)) as there:
        for url in (*API, "/api/v1/passages?source=CIA%20World%20Factbook&after=factbook/peru/0&limit=3"):
            assert _rounded(there.get(url).json()) == _rounded(client.get(url).json()), url
        assert there.get("/api/v1/passages?after=x").status_code == 400
        assert there.get("/api/v1/prompts/a%00b").status_code == 404
    engine.dispose()


def _rounded(node: Any) -> Any:
    """Numbers without the last digits, which depend on the order in which a database adds."""
    if isinstance(node, dict):
        return {name: _rounded(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_rounded(value) for value in node]
    return float(f"{node:.10g}") if isinstance(node, float) else node
