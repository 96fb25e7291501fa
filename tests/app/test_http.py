"""What holds for every response: security headers, errors without insides, CSRF, theme, static files."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import Query
from starlette.testclient import TestClient

from app.http.formats import local_path
from app.http.headers import HEADERS, policy_for
from app.http.rendering import STATIC, asset
from app.main import create_app
from tests.app.addresses import HTML, JSON
from tests.app.example_catalogue import settings_for


@pytest.fixture
def broken(full_home: Path) -> TestClient:
    """A server with routes that fail."""
    app = create_app(settings_for(full_home))

    @app.get("/broken")
    def fail() -> None:
        raise RuntimeError("a secret from inside")

    @app.get("/number")
    def number(n: int = Query()) -> int:
        return n

    @app.post("/echo")
    async def echo(request: object) -> None:
        return None

    return TestClient(app, raise_server_exceptions=False)


def test_headers_on_every_status(broken: TestClient) -> None:
    answers = {
        200: broken.get("/"),
        303: broken.get("/prompts/random", follow_redirects=False),
        400: broken.get("/prompts?task=zzz"),
        403: broken.post("/theme?to=dark", headers={"Sec-Fetch-Site": "cross-site"}),
        404: broken.get("/nothing"),
        405: broken.delete("/prompts"),
        413: broken.post("/echo", content=b"x" * 1_000_001),
        422: broken.post("/theme?to=purple"),
        500: broken.get("/broken"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["content-security-policy"] == policy_for("/")
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
        assert "strict-transport-security" not in answer.headers
    static = broken.get(asset("app.css"))
    assert "immutable" in static.headers["cache-control"]
    assert static.headers["x-content-type-options"] == "nosniff"
    assert broken.get("/static/nothing.css").headers["x-content-type-options"] == "nosniff"


def test_policy_allows_no_inline_and_no_eval() -> None:
    policy = policy_for("/prompts")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_https_only_headers_and_cookies(full_home: Path) -> None:
    with TestClient(create_app(settings_for(full_home)), base_url="https://here", follow_redirects=False) as client:
        assert "max-age" in client.get("/").headers["strict-transport-security"]
        cookie = client.post("/theme?to=dark").headers["set-cookie"]
        assert cookie.startswith("__Host-theme=dark")
        assert "Secure" in cookie
        assert 'data-theme="dark"' in client.get("/").text


@pytest.mark.parametrize("url", ["/broken", "/nothing", "/number?n=x"])
def test_errors_tell_nothing_inside(broken: TestClient, url: str) -> None:
    page = broken.get(url, headers={"Accept": "text/html"})
    problem = broken.get(url, headers={"Accept": "application/json"})
    assert "<h1>" in page.text
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["status"] == page.status_code == problem.status_code
    assert len(problem.json()["request_id"]) == 12
    for text in (page.text, problem.text):
        assert "secret" not in text
        assert "Traceback" not in text
        assert ".py" not in text
    if page.status_code == 422:
        assert problem.json()["errors"][0]["field"] == "n"


def test_error_as_a_part(client: TestClient) -> None:
    part = client.get("/prompts?task=zzz", headers={"HX-Request-Type": "partial"})
    assert part.status_code == 400
    assert "<html" not in part.text
    assert 'role="alert"' in part.text


@pytest.mark.parametrize("url", ["/prompts/nobody", "/passages/nobody", "/runs/nobody", "/r/none/capital-peru"])
def test_things_that_are_not_there(client: TestClient, url: str) -> None:
    assert client.get(url).status_code == 404
    problem = client.get(f"{url}.json")
    assert problem.status_code == 404
    assert problem.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "none"}, 303),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://testserver"}, 303),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer x"}, 401),
        ({"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer x", "Cookie": "theme=dark"}, 403),
    ],
)
def test_unsafe_requests_from_elsewhere(full_home: Path, headers: dict[str, str], status: int) -> None:
    """A token without a cookie passes the guard against other sites; this one is unknown."""
    client = TestClient(create_app(settings_for(full_home)), follow_redirects=False)
    assert client.post("/theme?to=dark", headers=headers).status_code == status


def test_theme_is_kept_and_dropped(full_home: Path) -> None:
    client = TestClient(create_app(settings_for(full_home)), follow_redirects=False)
    there = client.post("/theme?to=dark&back=/prompts%3Ftask%3Dfacts")
    assert there.headers["location"] == "/prompts?task=facts"
    assert "HttpOnly" in there.headers["set-cookie"]
    assert 'data-theme="dark"' in client.get("/").text
    client.post("/theme?to=auto")
    assert "data-theme" not in client.get("/").text
    assert "data-theme" not in client.get("/", headers={"Cookie": 'theme="><script>'}).text


@pytest.mark.parametrize("back", ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a\r\nb", "x"])
def test_theme_leads_nowhere_else(back: str) -> None:
    assert local_path(back) == "/"


@pytest.mark.parametrize("url", [*HTML, *JSON, "/healthz"])
def test_head_is_get_without_a_body(client: TestClient, url: str) -> None:
    head = client.head(url)
    assert head.status_code == 200
    assert head.content == b""


def test_health(client: TestClient, bare: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "catalogue": "ready"}
    assert bare.get("/healthz").json() == {"status": "ok", "catalogue": "empty"}


def test_api_docs_with_foreign_assets_are_off(client: TestClient) -> None:
    for url in ("/redoc", "/openapi.json", "/docs/oauth2-redirect"):
        assert client.get(url).status_code == 404


def test_the_pattern_page_is_for_development(client: TestClient) -> None:
    assert client.get("/dev/patterns").status_code == 404


def test_vendored_files_are_what_was_recorded() -> None:
    vendor = STATIC / "vendor"
    recorded = json.loads((vendor / "vendored.json").read_text())
    names = set()
    for package in recorded.values():
        for name, digest in package["sha256"].items():
            names.add(name)
            assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
    assert names == {path.name for path in vendor.iterdir()} - {"vendored.json"}


def test_app_needs_no_engine() -> None:
    code = "import sys, app.main; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = ["models", "gradients", "curvature", "methods", "search", "evaluation", "pipeline", "corpora"]
    assert not {"torch", *(f"backend.{part}" for part in parts)} & set(found.stdout.split())


def test_every_route_is_in_the_reference(client: TestClient) -> None:
    reference = (Path(__file__).parents[2] / "docs" / "reference" / "urls.md").read_text()
    for path in client.app.paths:  # type: ignore[attr-defined]
        assert f"`{path}`" in reference
