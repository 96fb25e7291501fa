"""Who a request comes from, found once for each request, and what they may do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.cookies import read_cookie
from app.http.csrf import SAFE_METHODS
from app.http.database import Catalogue, catalogue_of
from app.http.errors import Problem, not_found, problem_response
from app.http.formats import address, here, wants_json
from app.http.headers import NO_STORE
from app.http.logs import visit_of
from app.http.viewers import ANYBODY, KEY, SESSION_COOKIE, Viewer, viewer_of
from backend.accounts.access import Access, access_by_session, access_by_token, note_use, role_now
from backend.accounts.audit import Actor
from backend.accounts.roles import Role
from backend.catalogue.database import CatalogueError
from backend.settings import Settings

SIGN_IN = "/sign-in"
ALWAYS_OPEN = (SIGN_IN, "/healthz", "/theme")
"""Paths that a closed site answers to anybody, beside static files."""


def actor_of(request: Request) -> Actor:
    """The request's viewer as the trail names them."""
    viewer = viewer_of(request.scope)
    return Actor(viewer.name, viewer.user_id, visit_of(request.scope).id)


def sign_in_needed(request: Request) -> Problem:
    """Where a page is only for those who have signed in: leads there and back; a program or a form gets a 401."""
    safe = request.method in SAFE_METHODS
    to = address(SIGN_IN, {"next": here(request) if safe else None})
    if safe and not wants_json(request):
        detail = "This page is for those who have signed in."
        return Problem(303, "Sign in", detail, headers={"Location": to, **NO_STORE})
    detail = "Sign in, or send an API token as `Authorization: Bearer ...`. Nothing was changed."
    headers = {"WWW-Authenticate": 'Bearer realm="Proponent"', **NO_STORE}
    return Problem(401, "Sign in", detail, link=(to, "Sign in"), headers=headers)


def require(role: Role) -> Callable[[Request], Viewer]:
    """A dependency: the viewer, who may at least what ``role`` may; raises a Problem."""

    def check(request: Request) -> Viewer:
        viewer = viewer_of(request.scope)
        if viewer.may(role):
            return viewer
        if not viewer.signed_in:
            raise sign_in_needed(request)
        detail = f"This is for {role.value}s; you are signed in as {viewer.name}, and your role here is {viewer.role}."
        raise Problem(403, "Not yours to do", detail)

    return check


@contextmanager
def writing(request: Request, *, shown: bool) -> Iterator[Session]:
    """A write transaction for who asks (``Catalogue.write``); raises a Problem where they may not do it any more.

    A request may take its time between its head, by which it was let in, and its end: somebody may be disabled, signed
    out or given another role meanwhile.
    """
    access = viewer_of(request.scope).access
    with catalogue_of(request).write(shown=shown) as session:
        if access is not None:
            role = role_now(session, access)
            if role is None:
                raise Problem(
                    401, "Signed out", "Your access has ended meanwhile. Nothing was changed.", headers=NO_STORE
                )
            if not role.may(access.role):
                raise Problem(403, "Not yours to do", "Your role has changed meanwhile. Nothing was changed.")
        yield session


def _token(request: Request) -> str | None:
    """The token of a request; it alone counts, whatever cookie comes with it."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


class Gate:
    """ASGI wrapper that finds out who a request comes from, and keeps a closed site closed."""

    def __init__(self, app: ASGIApp, catalogue: Catalogue, settings: Settings) -> None:
        self.app = app
        self._catalogue, self._closed = catalogue, settings.site == "closed"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/static/"):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        if "\0" in scope["path"]:  # PostgreSQL knows no such text
            await problem_response(request, not_found("There is nothing at this address."))(scope, receive, send)
            return
        token, secret = _token(request), read_cookie(request, SESSION_COOKIE)
        shows_something = token is not None or secret
        try:
            access = await run_in_threadpool(self._find, token, secret) if shows_something else None
        except CatalogueError:
            problem = Problem(503, "Busy", "It cannot be seen now who you are. Try again in a moment.")
            await problem_response(request, problem)(scope, receive, send)
            return
        scope[KEY] = ANYBODY if access is None else Viewer(access)
        refusal = self._refusal(request, token, access)
        if refusal is not None:
            await problem_response(request, refusal)(scope, receive, send)
            return

        async def send_private(message: Message) -> None:
            if message["type"] == "http.response.start" and (access is not None or self._closed):
                headers = MutableHeaders(scope=message)
                if "no-store" not in headers.get("cache-control", ""):
                    headers["Cache-Control"] = "private, no-cache"
            await send(message)

        await self.app(scope, receive, send_private)

    def _refusal(self, request: Request, token: str | None, access: Access | None) -> Problem | None:
        if token is not None and access is None:
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"', **NO_STORE}
            return Problem(401, "No such token", "This token is unknown, has run out or was revoked.", headers=headers)
        if self._closed and access is None and request.url.path not in ALWAYS_OPEN:
            return sign_in_needed(request)
        return None

    def _find(self, token: str | None, secret: str | None) -> Access | None:
        if not self._catalogue.found:
            return None
        with self._catalogue.read() as session:
            access = access_by_session(session, secret or "") if token is None else access_by_token(session, token)
        if access is not None and not access.noted:
            try:
                with self._catalogue.write(shown=False) as session:
                    note_use(session, access)
            except CatalogueError:  # another process writes; the next request notes it
                return access
        return access
