"""Signing in and out: what the forms do."""

from __future__ import annotations

from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.http.clients import network_of
from app.http.cookies import DAY, drop_cookie, set_cookie
from app.http.database import catalogue_of
from app.http.errors import Problem
from app.http.formats import local_path
from app.http.forms import Fields, readable
from app.http.headers import NO_STORE
from app.http.identity import actor_of
from app.http.limits import too_many
from app.http.logs import visit_of
from app.http.viewers import SESSION_COOKIE, viewer_of
from backend.accounts.access import begin_session, end_session
from backend.accounts.audit import Actor, note
from backend.accounts.passwords import is_right
from backend.accounts.users import normalised
from backend.catalogue.account_models import User, UserSession
from backend.settings import Settings

WRONG = "Name and password do not belong together, or this user may not sign in."


def sign_in(request: Request, form: Fields) -> Response | None:
    """Begin a session and lead to where the reader came from; None for a wrong name or password.

    Attempts are counted for the address and for the name, right or wrong, before anything is looked up.
    """
    name, password = normalised(readable(form.one("name")))[:100], form.one("password")
    count_attempt(request, name)
    catalogue = catalogue_of(request)
    settings: Settings = request.app.state.settings
    request_id = visit_of(request.scope).id
    with catalogue.read() as session:
        password_hash = session.scalar(select(User.password_hash).where(User.name == name))
    right = is_right(password, password_hash)
    with catalogue.write(shown=False) as session:
        user = session.scalar(select(User).where(User.name == name))
        if user is None or not right or user.disabled_at is not None or user.password_hash != password_hash:
            note(session, Actor(name[:40], None, request_id), "sign-in.refused", name[:40])
            return None
        previous = viewer_of(request.scope).session_id
        browser = session.get(UserSession, previous) if previous else None
        if browser is not None:  # whoever signs in anew leaves no session behind
            session.delete(browser)
        secret = begin_session(session, user, request.headers.get("user-agent", ""), settings.session_days)
        note(session, Actor(user.name, user.id, request_id), "sign-in", user.name)
    response = RedirectResponse(local_path(form.one("next", "/")), 303, headers=NO_STORE)
    set_cookie(request, response, SESSION_COOKIE, secret, settings.session_days * DAY)
    return response


def count_attempt(request: Request, name: str) -> None:
    """Count an attempt to say somebody's password; raises a Problem (429).

    An address has so many a minute, a name ten times as many from all addresses: who knows a name should not be able to
    lock its owner out from one place.
    """
    state = request.app.state
    for limit, client in ((state.sign_in_limit, network_of(request.scope)), (state.name_limit, name)):
        seconds = limit.hit(client)
        if seconds is not None:
            raise too_many(seconds)


def sign_out(request: Request) -> Response:
    """End the session of this browser."""
    viewer = viewer_of(request.scope)
    if viewer.session_id is not None:
        catalogue = catalogue_of(request)
        with catalogue.write(shown=False) as session:
            browser = session.get(UserSession, viewer.session_id)
            if browser is not None:
                end_session(session, actor_of(request), browser)
    elif viewer.signed_in:
        raise Problem(400, "Not a session", "A token is revoked, not signed out.")
    response = RedirectResponse("/", 303, headers=NO_STORE)
    drop_cookie(request, response, SESSION_COOKIE)
    return response
