"""One's own account and the admin's pages: secrets shown once, nobody else's things, nobody locked out."""

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
from sqlalchemy import Engine, select, update
from starlette.testclient import TestClient

from app.main import create_app
from backend.accounts.audit import COMMAND_LINE
from backend.accounts.passwords import hash_password
from backend.accounts.users import find_user, set_password
from backend.catalogue.database import open_catalogue, read_session, write_session
from backend.catalogue.integrity import quick_check
from backend.catalogue.job_models import Job
from backend.catalogue.models import AnnotationChange, ApiToken, AuditEvent, User, UserSession
from tests.app.clock import Clock
from tests.app.example_annotations import PEOPLE, token_of
from tests.app.example_catalogue import settings_for
from tests.app.fake_worker import FAILED_ASK

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def signed_home(full_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which everybody has the same password, whose hash is worked out once."""
    home: Path = shutil.copytree(full_home, tmp_path_factory.mktemp("signed") / "home")
    engine = open_catalogue(settings_for(home))
    with write_session(engine) as session:
        session.execute(update(User).values(password_hash=hash_password(PASSWORD)))
    engine.dispose()
    return home


@pytest.fixture
def home(signed_home: Path, tmp_path: Path) -> Path:
    return shutil.copytree(signed_home, tmp_path / "home")


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    made = open_catalogue(settings_for(home))
    yield made
    made.dispose()


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    with client_of(home) as made:
        yield made


def client_of(home: Path, **settings: object) -> TestClient:
    return TestClient(create_app(settings_for(home).model_copy(update=settings)), follow_redirects=False)


def sign_in(client: TestClient, name: str, password: str = PASSWORD) -> Response:
    return client.post("/sign-in", data={"name": name, "password": password})


def test_a_token_is_shown_once_and_does_what_its_scope_may(client: TestClient, home: Path) -> None:
    sign_in(client, "ada")
    made = client.post("/account/tokens", data={"name": "<b>script</b>", "scope": "annotator", "days": "7"})
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    secret = re.search('value="(ppt_[^"]+)"', made.text)
    assert secret is not None
    assert secret[1] not in client.get("/account").text
    assert "&lt;b&gt;script" in client.get("/account").text
    bearer = {"authorization": f"Bearer {secret[1]}", "cookie": ""}
    assert client.get("/annotate/mine.json", headers=bearer).status_code == 200
    assert client.get("/annotations.json", headers=bearer).status_code == 403  # a curator's, ada is one
    for url in ("/account/tokens", "/account/password", "/account/sessions/others/end"):
        assert client.post(url, data={}, headers=bearer).status_code == 403
    token = client.get("/account.json").json()["tokens"][0]
    assert client.post(f"/account/tokens/{token['id']}/revoke").status_code == 303
    assert client.get("/annotate/mine.json", headers=bearer).status_code == 401


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"name": "", "scope": "reader", "days": "7"}, "A token has a name"),
        ({"name": "x", "scope": "admin", "days": "7"}, "cannot give a token more"),
        ({"name": "x", "scope": "king", "days": "7"}, "no such role"),
        ({"name": "x", "scope": "reader", "days": "367"}, "lasts 1 to 366 days"),
        ({"name": "x", "scope": "reader", "days": "many"}, "lasts 1 to 366 days"),
    ],
)
def test_a_token_that_cannot_be_says_why(client: TestClient, form: dict[str, str], reason: str) -> None:
    sign_in(client, "ada")
    answer = client.post("/account/tokens", data=form)
    assert answer.status_code == 422
    assert reason in answer.text


def test_two_users_and_each_others_sessions_and_tokens(client: TestClient, home: Path, engine: Engine) -> None:
    sign_in(client, "ben")
    with client_of(home) as other:
        sign_in(other, "cleo")
        hers = other.get("/account.json").json()
        session_id, token_id = hers["sessions"][0]["id"], hers["tokens"][0]["id"]
        assert client.post(f"/account/sessions/{session_id}/end").status_code == 404
        assert client.post(f"/account/tokens/{token_id}/revoke").status_code == 404
        client.post("/account/sessions/others/end")
        assert other.get("/account").status_code == 200
        assert {token["user"] for token in hers["tokens"]} == {"cleo"}
    with read_session(engine) as session:
        assert session.get_one(ApiToken, token_id).revoked_at is None


def test_ending_sessions_signs_those_browsers_out(client: TestClient, home: Path) -> None:
    with client_of(home) as elsewhere, client_of(home) as third:
        for one in (client, elsewhere, third):
            sign_in(one, "ben")
        rows = client.get("/account.json").json()["sessions"]
        assert [row["this_one"] for row in rows].count(True) == 1
        other = next(row for row in rows if not row["this_one"])
        assert client.post(f"/account/sessions/{other['id']}/end").headers["location"] == "/account?done=session"
        assert sorted(one.get("/account").status_code for one in (elsewhere, third)) == [200, 303]
        client.post("/account/sessions/others/end")
        assert {one.get("/account").status_code for one in (elsewhere, third)} == {303}
        assert client.get("/account").status_code == 200


def test_a_password_is_changed_by_the_present_one(client: TestClient, home: Path, clock: Clock) -> None:
    with client_of(home) as elsewhere:
        sign_in(client, "ben")
        sign_in(elsewhere, "ben")
        form = {"present": PASSWORD, "new": "another long one", "again": "another long one"}
        assert "not your present" in client.post("/account/password", data={**form, "present": "wrong"}).text
        assert "two new passwords differ" in client.post("/account/password", data={**form, "again": "x"}).text
        short = client.post("/account/password", data={**form, "new": "short", "again": "short"})
        assert (short.status_code, "10 to 200" in short.text) == (422, True)
        assert client.post("/account/password", data=form).headers["location"] == "/account?done=password"
        assert client.get("/account").status_code == 200
        assert elsewhere.get("/account").status_code == 303
        assert sign_in(elsewhere, "ben").status_code == 401
        assert sign_in(elsewhere, "ben", form["new"]).status_code == 303
        answers = [client.post("/account/password", data={"present": "wrong"}).status_code for _ in range(8)]
        assert answers[-1] == 429


def test_an_admin_adds_resets_disables_and_everything_is_in_the_trail(client: TestClient, home: Path) -> None:
    root = token_of(home, "root")
    made = client.post("/admin/users", data={"name": "Dora", "role": "curator"}, headers=root)
    password = re.search('id="secret"[^>]*value="([^"]+)"', made.text)
    assert password is not None
    assert made.headers["cache-control"] == "no-store"
    assert sign_in(client, "dora", password[1]).status_code == 303
    assert client.get("/annotations").status_code == 200
    assert client.post("/admin/users/dora/role", data={"role": "reader"}, headers=root).status_code == 303
    assert client.get("/annotations").status_code == 403  # at the very next request
    again = client.post("/admin/users/dora/reset", headers=root)
    assert "shown this once" in again.text
    assert client.get("/account").status_code == 303
    assert client.post("/admin/users/dora/disable", headers=root).status_code == 303
    assert client.post("/admin/users/dora/enable", headers=root).status_code == 303
    trail = client.get("/admin/audit.json?user=root", headers=root).json()["items"]
    assert [event["action"] for event in trail] == [
        "user.enable",
        "user.disable",
        "user.password",
        "user.role",
        "user.add",
    ]
    assert password[1] not in client.get("/admin/audit.jsonl", headers=root).text


@pytest.mark.parametrize(
    ("name", "reason"),
    [("x", "is no name"), ("ben", "There is a user"), ("<img src=x>", "&lt;img"), ("", "is no name")],
)
def test_a_user_that_cannot_be_added_says_why(client: TestClient, home: Path, name: str, reason: str) -> None:
    answer = client.post("/admin/users", data={"name": name, "role": "reader"}, headers=token_of(home, "root"))
    assert answer.status_code == 422
    assert reason in answer.text


def test_the_last_admin_stays(client: TestClient, home: Path) -> None:
    root = token_of(home, "root")
    for act, form in (("disable", {}), ("role", {"role": "reader"})):
        answer = client.post(f"/admin/users/root/{act}", data=form, headers=root)
        assert answer.status_code == 409
        assert "only admin" in answer.text
    assert client.post("/admin/users/ada/role", data={"role": "admin"}, headers=root).status_code == 303
    assert client.post("/admin/users/root/role", data={"role": "reader"}, headers=root).status_code == 303
    assert client.get("/admin", headers=root).status_code == 403


def test_what_is_not_there_is_not_found(client: TestClient, home: Path) -> None:
    root = token_of(home, "root")
    for url in ("/admin/users/nobody/disable", "/admin/tokens/nothing/revoke", "/admin/users/%00/reset"):
        assert client.post(url, headers=root).status_code == 404, url
    assert client.post("/admin/jobs/nothing/cancel", headers=root).status_code == 409
    assert client.post("/admin/users/ben/role", data={"role": "king"}, headers=root).status_code == 422


def test_a_token_is_revoked_by_an_admin(client: TestClient, home: Path) -> None:
    root, ben = token_of(home, "root"), token_of(home, "ben")
    tokens = client.get("/admin/tokens.json", headers=root).json()["items"]
    assert {token["user"] for token in tokens} == set(PEOPLE)
    mine = next(token["id"] for token in tokens if token["user"] == "ben")
    assert client.post(f"/admin/tokens/{mine}/revoke", headers=root).status_code == 303
    assert client.get("/annotate.json", headers=ben).status_code == 401


def test_a_failed_job_is_queued_again_and_an_open_one_cancelled(client: TestClient, home: Path, engine: Engine) -> None:
    root = token_of(home, "root")
    jobs = client.get("/admin/jobs.json", headers=root).json()
    failed = next(job["id"] for job in jobs["items"] if job["state"] == "failed")
    assert client.post(f"/admin/jobs/{failed}/put-back", headers=root).status_code == 303
    assert client.post(f"/admin/jobs/{failed}/put-back", headers=root).status_code == 409
    with read_session(engine) as session:
        job = session.get_one(Job, failed)
        assert (job.state, job.error, job.attempt) == ("queued", None, 0)
    assert client.post(f"/admin/jobs/{failed}/cancel", headers=root).status_code == 303
    assert client.post(f"/admin/jobs/{failed}/cancel", headers=root).status_code == 409
    assert "cancelled" in client.get(f"/jobs/{FAILED_ASK}").text


def test_the_trail_pages_and_leaves_as_a_file(client: TestClient, home: Path, engine: Engine) -> None:
    root = token_of(home, "root")
    with read_session(engine) as session:
        known = list(session.scalars(select(AuditEvent.pk).order_by(AuditEvent.pk.desc())))
    seen: list[int] = []
    url = "/admin/audit.json?limit=60"
    while url:
        page = client.get(url, headers=root).json()
        seen += [event["number"] for event in page["items"]]
        url = page["next"]
    assert seen == known
    rows = list(csv.DictReader(io.StringIO(client.get("/admin/audit.csv?action=token", headers=root).text)))
    assert {row["action"] for row in rows} == {"token.add"}
    assert {json.loads(row["details"])["user"] for row in rows} == set(PEOPLE)
    assert len(rows) == len(PEOPLE)


def test_the_check_finds_what_is_broken(client: TestClient, home: Path, engine: Engine) -> None:
    root = token_of(home, "root")
    assert client.get("/admin/check.json", headers=root).json() == {"whole": True, "found": []}
    with write_session(engine) as session:
        session.delete(session.scalars(select(AnnotationChange).limit(1)).one())
    raw = engine.raw_connection()
    raw.execute("PRAGMA foreign_keys=OFF")
    raw.execute("DELETE FROM users WHERE name = 'rita'")
    raw.commit()
    raw.close()
    with read_session(engine) as session:
        found = quick_check(session)
    assert any("lack versions of their history" in line for line in found)
    assert any("refer to rows that are not there" in line for line in found)
    assert "is damaged" in client.get("/admin/check", headers=root).text


def test_asking_for_those_who_have_signed_in(home: Path) -> None:
    with client_of(home, asking="signed-in") as client:
        assert "Here those ask who have signed in" in client.get("/ask").text
        assert client.post("/ask", data={"prompt": "x"}).status_code == 401
        assert client.post("/api/v1/questions", json={"prompt": "x"}).status_code == 401
        assert "Ask about a variation" not in client.get("/prompts/capital-peru").text
        rita = token_of(home, "rita")
        assert "Here those ask" not in client.get("/ask", headers=rita).text
        assert client.post("/api/v1/questions", json={"prompt": "x"}, headers=rita).status_code not in (401, 403)


def test_a_password_set_elsewhere_ends_sessions_but_sessions_are_few(client: TestClient, engine: Engine) -> None:
    sign_in(client, "ben")
    with write_session(engine) as session:
        set_password(session, COMMAND_LINE, find_user(session, "ben"), PASSWORD)
    assert client.get("/account").status_code == 303
    with read_session(engine) as session:
        assert session.scalars(select(UserSession)).all() == []
