"""Bodies that come too slowly or not to their end, and writers that would keep readers waiting."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.types import Message

from app.http.database import WRITERS, Catalogue
from app.http.limits import BodyLimit
from app.main import create_app
from backend.accounts.access import revoke_token
from backend.accounts.audit import COMMAND_LINE
from backend.accounts.roles import Role
from backend.accounts.users import add_user, disable, find_user, set_role
from backend.catalogue.database import CatalogueError, open_catalogue, read_session, write_session
from backend.catalogue.models import ApiToken, User
from tests.app.example_annotations import token_of
from tests.app.example_catalogue import settings_for

HEADERS = [(b"host", b"testserver"), (b"content-type", b"application/x-www-form-urlencoded")]
SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/ask",
    "raw_path": b"/ask",
    "query_string": b"",
    "root_path": "",
    "scheme": "http",
    "headers": HEADERS,
    "client": ("testclient", 1),
    "server": ("testserver", 80),
}


def status_of(home: Path, messages: list[Message], seconds: float) -> int:
    """The status of the answer to a body of these messages, after which nothing comes."""
    sent: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.sleep(30)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        app = create_app(settings_for(home))
        await BodyLimit(app, 1_000_000, seconds)(dict(SCOPE), receive, send)

    asyncio.run(asyncio.wait_for(run(), 20))
    return next(int(message["status"]) for message in sent if message["type"] == "http.response.start")


def test_a_body_that_does_not_end_is_not_waited_for(full_home: Path) -> None:
    begun: Message = {"type": "http.request", "body": b"prompt=A", "more_body": True}
    assert status_of(full_home, [begun], 0.1) == 408


def test_a_client_that_leaves_is_no_fault(full_home: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun: Message = {"type": "http.request", "body": b"prompt=A", "more_body": True}
    assert status_of(full_home, [begun, {"type": "http.disconnect"}], 10) == 499
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_few_write_at_a_time(full_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.database.WRITER_SECONDS", 0.05)
    catalogue = Catalogue(settings_for(full_home))
    assert catalogue.found
    for _ in range(WRITERS):
        assert catalogue._writers.acquire(timeout=0)
    with pytest.raises(CatalogueError, match="wait to write"), catalogue.write(shown=False):
        pass
    with catalogue.read() as session:
        assert session.get_bind() is not None, "readers go on"
    catalogue._writers.release()
    with catalogue.write(shown=False):
        pass
    catalogue.close()


def disabled(session: Session) -> None:
    add_user(session, COMMAND_LINE, "another", Role.ADMIN, None)
    disable(session, COMMAND_LINE, find_user(session, "root"))


def revoked(session: Session) -> None:
    owner = find_user(session, "root").id
    revoke_token(session, COMMAND_LINE, session.scalars(select(ApiToken).filter_by(user_id=owner)).one())


def demoted(session: Session) -> None:
    add_user(session, COMMAND_LINE, "another", Role.ADMIN, None)
    set_role(session, COMMAND_LINE, find_user(session, "root"), Role.CURATOR)


@pytest.mark.parametrize(("meanwhile", "status"), [(disabled, 401), (revoked, 401), (demoted, 403), (None, 200)])
def test_who_may_no_more_when_the_body_has_come_does_nothing(
    full_home: Path, tmp_path: Path, meanwhile: Callable[[Session], None] | None, status: int
) -> None:
    """A request is let in by its head; its body may take its time, and a user be disabled meanwhile."""
    home = shutil.copytree(full_home, tmp_path / "home")
    engine = open_catalogue(settings_for(home))
    token = token_of(home, "root")["authorization"].encode()
    sent: list[Message] = []

    async def receive() -> Message:
        if meanwhile is not None:
            with write_session(engine) as session:
                meanwhile(session)
        return {"type": "http.request", "body": b"name=backdoor&role=admin"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [*HEADERS, (b"authorization", token)]
    scope = {**SCOPE, "path": "/admin/users", "raw_path": b"/admin/users", "headers": headers}
    asyncio.run(asyncio.wait_for(create_app(settings_for(home))(scope, receive, send), 20))
    assert next(int(message["status"]) for message in sent if message["type"] == "http.response.start") == status
    with read_session(engine) as session:
        assert ("backdoor" in session.scalars(select(User.name)).all()) == (status == 200)
    engine.dispose()
