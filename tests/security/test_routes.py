"""What holds on every route there is: who may write, no writes from other sites, headers, no secrets in errors.

A new route that writes fails the first test until somebody says here who may use it.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from app.http.headers import HEADERS, policy_for
from app.main import Application, create_app
from tests.app.addresses import BY_ROLE
from tests.app.example_annotations import PEOPLE, token_of
from tests.app.example_catalogue import settings_for

ANYBODY = "anybody"
WRITES: dict[str, str] = {
    "/sign-in": ANYBODY,
    "/sign-out": ANYBODY,
    "/theme": ANYBODY,
    "/ask": ANYBODY,  # by the setting
    "/ask/tokens": ANYBODY,
    "/jobs/{ask_id}/cancel": ANYBODY,  # one's own, by the cookie
    "/questions/{slug}/tail-patch": ANYBODY,
    "/api/v1/questions": ANYBODY,
    "/annotate/in-place": "annotator",
    "/annotate/pools/{pool_id}": "annotator",
    "/annotations/{annotation_id}/delete": "annotator",
    "/annotations/{annotation_id}/undo": "annotator",
    "/annotate/pools/new": "curator",
    "/annotate/pools/{pool_id}/close": "curator",
    "/annotate/pools/{pool_id}/open": "curator",
    "/flags": "curator",
    "/flags/{flag_id}/clear": "curator",
    "/sources/private": "curator",
    "/account/sessions/others/end": "session",
    "/account/sessions/{session_id}/end": "session",
    "/account/tokens": "session",
    "/account/tokens/{token_id}/revoke": "session",
    "/account/password": "session",
    "/admin/users": "admin",
    "/admin/users/{name}/reset": "admin",
    "/admin/users/{name}/role": "admin",
    "/admin/users/{name}/disable": "admin",
    "/admin/users/{name}/enable": "admin",
    "/admin/tokens/{token_id}/revoke": "admin",
    "/admin/jobs/{job_id}/put-back": "admin",
    "/admin/jobs/{job_id}/cancel": "admin",
}
"""Address -> the least role that may POST to it; ``session``: whoever has signed in, and never a token."""

ORIGINS = (None, "http://testserver", "http://evil.example", "null", "http://testserver.evil.example", "http://[::1")
SITES = (None, "same-origin", "none", "same-site", "cross-site", "nonsense")


@pytest.fixture(scope="module")
def app(full_home: Path) -> Application:
    return create_app(settings_for(full_home))


@pytest.fixture(scope="module")
def site(app: Application) -> TestClient:
    return TestClient(app, follow_redirects=False)


def filled(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "nothing-here", path)


def routes(app: Application) -> set[tuple[str, str]]:
    """(method, path) of every route."""
    return {
        (method, context.path)
        for context in iter_route_contexts(app.routes)
        if context.path is not None
        for method in context.methods or ()
    }


def test_every_route_that_writes_is_known_here(app: Application) -> None:
    unsafe = {(method, path) for method, path in routes(app) if method not in ("GET", "HEAD")}
    assert unsafe == {("POST", path) for path in WRITES}


@pytest.mark.parametrize("path", WRITES)
def test_only_those_who_may_write_do(site: TestClient, full_home: Path, path: str) -> None:
    """Refused before anything else is looked at: 401 without a name, 403 with too small a role."""
    least = WRITES[path]
    if least == ANYBODY:
        return
    assert site.post(filled(path)).status_code == 401
    order = list(BY_ROLE)
    for name, role in PEOPLE.items():
        refused = least == "session" or order.index(role.value) < order.index(least)
        status = site.post(filled(path), headers=token_of(full_home, name)).status_code
        assert (status == 403) == refused, (name, status)
        assert status != 500


@pytest.mark.parametrize("path", WRITES)
def test_no_browser_writes_for_another_site(site: TestClient, full_home: Path, path: str) -> None:
    """Origin x Sec-Fetch-Site: the newer header decides, else the older; a token beside a cookie changes nothing."""
    token = token_of(full_home, "root")["authorization"]
    for origin, fetched in product(ORIGINS, SITES):
        headers = {"cookie": "theme=dark", "authorization": token}
        headers |= {"origin": origin} if origin else {}
        headers |= {"sec-fetch-site": fetched} if fetched else {}
        if fetched is not None:
            foreign = fetched not in ("same-origin", "none")
        else:
            foreign = origin not in (None, "http://testserver")
        if not foreign:
            continue  # what it then does is said elsewhere
        assert site.post(filled(path), headers=headers).status_code == 403, headers


def test_every_route_bears_the_headers_whoever_asks(app: Application, full_home: Path) -> None:
    site = TestClient(app, follow_redirects=False, raise_server_exceptions=False)
    for method, path in sorted(routes(app)):
        for name in (None, "root"):
            url = filled(path)
            answer = site.request(method, url, headers=token_of(full_home, name) if name else {})
            assert answer.headers["content-security-policy"] == policy_for(url), (method, path)
            for header, value in HEADERS.items():
                assert answer.headers[header] == value, (method, path)
            assert answer.status_code < 500 or answer.status_code == 503, (method, path, answer.text[:300])
            if name:
                cached = answer.headers.get("cache-control", "")
                assert path == "/static" or "no-store" in cached or "private" in cached, (path, cached)


JUNK = ("", "\0", "\ud800", "'", '"><script>', "../../etc/passwd", "%00", "9" * 400, "-1", "{}", "a" * 10_000)
FIELDS = ("prompt", "passage", "passages", "label", "quote", "note", "version", "item", "name", "role", "scope", "days")
MORE = ("reason", "source", "private", "back", "next", "run", "depth", "amount", "target", "seed", "corpus", "present")


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_in_every_field_is_nobodys_fault(app: Application, full_home: Path, junk: str) -> None:
    site = TestClient(app, follow_redirects=False)
    body = "&".join(f"{field}={value}" for field in FIELDS + MORE for value in [_quoted(junk)])
    headers = {**token_of(full_home, "root"), "content-type": "application/x-www-form-urlencoded"}
    for path in WRITES:
        if path.startswith("/admin/users/") or path in ("/sign-in", "/account/password"):
            continue  # passwords are hashed there, which takes long
        answer = site.post(filled(path), content=body, headers=headers)
        assert answer.status_code < 500 or answer.status_code == 503, (path, answer.text[:300])
        location = answer.headers.get("location", "/")
        assert location.startswith("/"), (path, location)
        assert not location.startswith("//"), (path, location)


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))
