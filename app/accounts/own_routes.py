"""Addresses of one's own account. What it changes needs a session: a token makes no tokens."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy import select
from starlette.responses import RedirectResponse, Response

from app.accounts.own import account_json, build_account
from app.accounts.signing import count_attempt
from app.http.database import ReadSession, catalogue_of
from app.http.errors import Problem, not_found
from app.http.formats import address
from app.http.forms import Form, number, readable
from app.http.headers import NO_STORE
from app.http.identity import actor_of, require, writing
from app.http.rendering import render
from app.http.viewers import Viewer
from backend.accounts.access import end_other_sessions, end_session, make_token, revoke_token, sessions_of, short_id
from backend.accounts.passwords import hash_password, is_right
from backend.accounts.roles import ORDER, Role
from backend.accounts.users import change_password
from backend.catalogue.account_models import ApiToken, User
from backend.core.errors import UserError

router = APIRouter()
SignedIn = Annotated[Viewer, Depends(require(Role.READER))]
HERE = ("/account", "Your account")


def by_session(viewer: SignedIn) -> Viewer:
    """A dependency: the viewer, signed in by a browser; raises a Problem."""
    if viewer.session_id is None:
        raise Problem(403, "Not by a token", "An API token cannot change the account that it belongs to. Sign in.")
    return viewer


InBrowser = Annotated[Viewer, Depends(by_session)]


@router.get("/account.json")
def as_json(session: ReadSession, viewer: SignedIn) -> dict[str, Any]:
    return account_json(build_account(session, viewer))


@router.get("/account")
def page(request: Request, session: ReadSession, viewer: SignedIn, done: str = "") -> Response:
    found = build_account(session, viewer, done=done)
    return render(request, "accounts/account.html", {"page": found}, headers=NO_STORE)


@router.post("/account/sessions/others/end")
def end_others(request: Request, viewer: InBrowser) -> Response:
    with writing(request, shown=False) as session:
        end_other_sessions(session, actor_of(request), _id(viewer), viewer.session_id)
    return _back("others")


@router.post("/account/sessions/{session_id}/end")
def end_one(request: Request, viewer: InBrowser, session_id: str) -> Response:
    with writing(request, shown=False) as session:
        found = next((one for one in sessions_of(session, _id(viewer)) if short_id(one) == session_id), None)
        if found is None:
            raise not_found("You are not signed in there.", HERE)
        end_session(session, actor_of(request), found)
    return _back("session")


@router.post("/account/tokens")
def add_token(request: Request, viewer: InBrowser, form: Form) -> Response:
    """Make a token; the answer shows its secret, this once."""
    scope, secret = form.one("scope"), None
    faults: dict[str, str] = {}
    try:
        if scope not in ORDER:
            raise UserError("There is no such role.", "Choose one that the form offers.")
        with writing(request, shown=False) as session:
            user = session.get_one(User, _id(viewer))
            name, days = readable(form.one("name")), number(form.one("days"))
            _, secret = make_token(session, actor_of(request), user, name, Role(scope), days)
    except UserError as error:
        faults = {"token": str(error)}
    with catalogue_of(request).read() as session:
        found = build_account(session, viewer, secret=secret, faults=faults)
    status = 422 if faults else 200
    return render(request, "accounts/account.html", {"page": found}, status=status, headers=NO_STORE)


@router.post("/account/tokens/{token_id}/revoke")
def revoke(request: Request, viewer: InBrowser, token_id: str) -> Response:
    with writing(request, shown=False) as session:
        wanted = select(ApiToken).where(ApiToken.id == token_id, ApiToken.user_id == viewer.user_id)
        found = session.scalar(wanted)
        if found is None:
            raise not_found("You have no such token.", HERE)
        revoke_token(session, actor_of(request), found)
    return _back("token")


@router.post("/account/password")
def new_password(request: Request, viewer: InBrowser, form: Form) -> Response:
    """Change the password, by the present one; attempts count like those of signing in."""
    count_attempt(request, viewer.name)
    present, new, again = (form.one(name) for name in ("present", "new", "again"))
    with catalogue_of(request).read() as session:
        stored = session.scalar(select(User.password_hash).where(User.id == viewer.user_id))
    faults: dict[str, str] = {}
    if not is_right(present, stored):
        faults["present"] = "This is not your present password."
    if new != again:
        faults["again"] = "The two new passwords differ."
    if not faults:
        try:
            hashed = hash_password(new)
            with writing(request, shown=False) as session:
                user = session.get_one(User, _id(viewer))
                change_password(session, actor_of(request), user, hashed, viewer.session_id)
        except UserError as error:
            faults["new"] = str(error)
    if not faults:
        return _back("password")
    with catalogue_of(request).read() as session:
        found = build_account(session, viewer, faults=faults)
    return render(request, "accounts/account.html", {"page": found}, status=422, headers=NO_STORE)


def _id(viewer: Viewer) -> int:
    assert viewer.user_id is not None
    return viewer.user_id


def _back(done: str) -> Response:
    return RedirectResponse(address("/account", {"done": done}), 303, headers=NO_STORE)
