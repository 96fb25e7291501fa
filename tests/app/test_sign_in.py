"""Signing in and out: cookies, revocation, limits, where it leads, and a closed site."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Depends
from httpx2 import Response
from sqlalchemy import Engine, func, select
from starlette.testclient import TestClient

from app.http.identity import require
from app.main import create_app
from backend.accounts.access import make_token, revoke_token
from backend.accounts.audit import COMMAND_LINE
from backend.accounts.roles import Role
from backend.accounts.users import add_user, disable, find_user, set_password
from backend.catalogue.database import read_session, write_session
from backend.catalogue.models import ApiToken, AuditEvent, UserSession
from backend.core.errors import UserError
from tests.app.clock import Clock
from tests.app.example_catalogue import open_empty, settings_for

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_empty(tmp_path)
    with write_session(made) as session:
        add_user(session, COMMAND_LINE, "Ada", Role.CURATOR, PASSWORD)
        add_user(session, COMMAND_LINE, "root", Role.ADMIN, PASSWORD)
    yield made
    made.dispose()


def client_of(home: Path, scheme: str = "https", **settings: object) -> TestClient:
    app = create_app(settings_for(home).model_copy(update=settings))
    return TestClient(app, follow_redirects=False, base_url=f"{scheme}://testserver")


@pytest.fixture
def https(engine: Engine, tmp_path: Path) -> Iterator[TestClient]:
    with client_of(tmp_path) as made:
        yield made


def sign_in(client: TestClient, name: str = "ada", password: str = PASSWORD, next_: str = "/") -> Response:
    return client.post("/sign-in", data={"name": name, "password": password, "next": next_})


def test_the_cookie_is_as_strict_as_the_connection_allows(https: TestClient, tmp_path: Path) -> None:
    cookie = sign_in(https).headers["set-cookie"]
    assert cookie.startswith("__Host-session=")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    with client_of(tmp_path, "http") as plain:
        cookie = sign_in(plain).headers["set-cookie"]
        assert cookie.startswith("session=")
        assert "Secure" not in cookie


def test_only_a_hash_of_the_secret_is_stored(https: TestClient, engine: Engine) -> None:
    sign_in(https)
    secret = https.cookies["__Host-session"]
    with read_session(engine) as session:
        stored = session.scalars(select(UserSession.id)).all()
    assert len(stored) == 1
    assert secret not in stored[0]


def test_the_page_says_who_is_signed_in_and_no_cache_keeps_it_for_others(https: TestClient) -> None:
    assert "Sign in</a>" in https.get("/methods").text
    assert sign_in(https, " ADA ").status_code == 303
    mine = https.get("/methods")
    assert ">ada</a>" in mine.text
    assert mine.headers["cache-control"] == "private, no-cache"
    https.cookies.clear()
    assert ">ada</a>" not in https.get("/methods").text


def test_signing_out_revokes_the_session_itself(https: TestClient) -> None:
    sign_in(https)
    secret = https.cookies["__Host-session"]
    assert https.post("/sign-out").status_code == 303
    assert ">ada</a>" not in https.get("/", headers={"cookie": f"__Host-session={secret}"}).text


def test_signing_in_anew_ends_the_session_before(https: TestClient, engine: Engine) -> None:
    sign_in(https)
    sign_in(https)
    with read_session(engine) as session:
        assert session.scalar(select(func.count()).select_from(UserSession)) == 1


@pytest.mark.parametrize("what", ["disable", "password"])
def test_disabling_and_a_new_password_end_sessions_and_tokens(https: TestClient, engine: Engine, what: str) -> None:
    sign_in(https)
    with write_session(engine) as session:
        user = find_user(session, "ada")
        _, secret = make_token(session, COMMAND_LINE, user, "script", Role.READER, 7)
    bearer = {"authorization": f"Bearer {secret}", "cookie": ""}
    assert https.get("/prompts.json", headers=bearer).status_code == 200
    with write_session(engine) as session:
        user = find_user(session, "ada")
        if what == "disable":
            disable(session, COMMAND_LINE, user)
        else:
            set_password(session, COMMAND_LINE, user, PASSWORD + "!")
    assert ">ada</a>" not in https.get("/").text
    assert https.get("/prompts.json", headers=bearer).status_code == 401


def test_wrong_names_and_wrong_passwords_look_the_same(https: TestClient, engine: Engine) -> None:
    one, other = sign_in(https, "ada", "wrong password"), sign_in(https, "eve", "wrong password")
    assert one.status_code == other.status_code == 401
    assert one.text.replace("ada", "") == other.text.replace("eve", "")
    with read_session(engine) as session:
        refused = session.scalars(select(AuditEvent.actor).where(AuditEvent.action == "sign-in.refused")).all()
    assert refused == ["ada", "eve"]


def test_attempts_are_limited_for_a_name_and_for_an_address(https: TestClient, clock: Clock) -> None:
    statuses = [sign_in(https, "ada", "wrong password").status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    refused = sign_in(https)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0


def test_one_address_does_not_lock_an_owner_out_and_many_do_not_guess_for_long(
    engine: Engine, tmp_path: Path, clock: Clock
) -> None:
    app = create_app(settings_for(tmp_path).model_copy(update={"sign_ins_per_minute": 1}))

    def from_address(number: int) -> int:
        client = TestClient(app, follow_redirects=False, base_url="https://here", client=(f"10.0.0.{number}", 1))
        return sign_in(client, "ada", PASSWORD if number == 2 else "wrong password").status_code

    assert [from_address(1), from_address(1), from_address(2)] == [401, 429, 303]
    assert [from_address(number) for number in range(3, 12)] == [401] * 8 + [429]


@pytest.mark.parametrize(
    "leads_to", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", ""]
)
def test_it_leads_nowhere_else(https: TestClient, leads_to: str) -> None:
    assert sign_in(https, next_=leads_to).headers["location"] == "/"
    assert https.get("/sign-in", params={"next": leads_to}).headers["location"] == "/"


def test_another_site_can_neither_sign_in_nor_out(https: TestClient) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        data = {"name": "ada", "password": PASSWORD}
        assert https.post("/sign-in", data=data, headers=headers).status_code == 403
        assert https.post("/sign-out", headers=headers).status_code == 403


def test_a_closed_site_shows_nothing_but_the_way_in(engine: Engine, tmp_path: Path) -> None:
    with client_of(tmp_path, site="closed") as closed:
        for path in ("/", "/prompts", "/methods", "/docs", "/metrics", "/nowhere", "/sign-in/x"):
            found = closed.get(path)
            assert (found.status_code, found.headers.get("location", "")[:8]) in {(303, "/sign-in"), (401, "")}, path
            assert "content-security-policy" in found.headers
        assert closed.get("/prompts.json").status_code == 401
        assert closed.post("/theme?to=dark").status_code == 303
        assert closed.get("/sign-in").status_code == closed.get("/healthz").status_code == 200
        sign_in(closed)
        assert closed.get("/prompts").status_code == closed.get("/prompts.json").status_code == 200


def test_a_token_has_at_most_its_scope_and_its_users_role(engine: Engine) -> None:
    with write_session(engine) as session:
        user = find_user(session, "ada")
        with pytest.raises(UserError, match="cannot give a token more"):
            make_token(session, COMMAND_LINE, user, "script", Role.ADMIN, 7)
        token, secret = make_token(session, COMMAND_LINE, user, "script", Role.CURATOR, 7)
        assert secret not in token.secret_hash
        revoke_token(session, COMMAND_LINE, token)
    with read_session(engine) as session:
        assert session.scalars(select(ApiToken.revoked_at)).one() is not None


def test_the_last_admin_stays(engine: Engine) -> None:
    with write_session(engine) as session, pytest.raises(UserError, match="the only admin"):
        disable(session, COMMAND_LINE, find_user(session, "root"))


def run(home: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "backend.cli", "users", *arguments, "--home", str(home)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def test_users_by_the_command_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    added = run(home, "add", "Ada", "--role", "admin", "--password-stdin", stdin=PASSWORD)
    assert added.returncode == 0, added.stderr
    short = run(home, "reset", "ada", "--password-stdin", stdin="short")
    assert short.returncode == 1
    assert "10 to 200 characters" in short.stderr
    assert run(home, "list", "--json").stdout.strip() == '[{"name": "ada", "role": "admin", "disabled": false}]'


@pytest.mark.parametrize("name", ["%FF", "%00", "a%00b", "%F0%9F%A6%A0", "a" * 5000, "", "%0D%0A"])
def test_any_bytes_for_a_name_and_a_password_are_only_wrong(https: TestClient, name: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    for password in ("%FF%00", "%F0%9F%A6%A0"):
        refused = https.post("/sign-in", content=f"name={name}&password={password}", headers=headers)
        assert refused.status_code == 401


def test_a_page_for_those_signed_in_links_only_to_pages_that_are_there(https: TestClient) -> None:
    sign_in(https)
    page = https.get("/")
    links = set(re.findall(r'<a [^>]*href="(/[^"#]*)', page.text)) - {"/prompts/random"}  # no prompt here to draw
    assert len(links) > 4
    assert {link: https.get(link).status_code for link in links} == dict.fromkeys(links, 200)


def test_a_route_for_curators_is_for_them_and_for_those_who_may_more(engine: Engine, tmp_path: Path) -> None:
    with write_session(engine) as session:
        add_user(session, COMMAND_LINE, "eve", Role.ANNOTATOR, PASSWORD)
    with client_of(tmp_path) as client:
        client.app.get("/curated", dependencies=[Depends(require(Role.CURATOR))])(lambda: "yes")  # type: ignore[attr-defined]
        assert client.get("/curated").headers["location"] == "/sign-in?next=%2Fcurated"
        assert client.get("/curated", headers={"accept": "application/json"}).status_code == 401
        for name, status in (("eve", 403), ("ada", 200), ("root", 200)):
            sign_in(client, name)
            assert client.get("/curated").status_code == status, name
