"""Addresses of the admin's pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.accounts.own import token_json
from app.admin import views
from app.admin.parameters import DoneParameters, TrailFilter, TrailParameters
from app.http.database import ReadSession, catalogue_of, read_while_streaming
from app.http.errors import Problem, not_found
from app.http.exports import Format, export
from app.http.formats import address
from app.http.forms import Form, readable
from app.http.headers import NO_STORE
from app.http.identity import actor_of, require, writing
from app.http.parameters import parameters_of
from app.http.rendering import render
from backend.accounts import users
from backend.accounts.access import revoke_token
from backend.accounts.audit import Actor, note
from backend.accounts.roles import ORDER, Role
from backend.catalogue.account_models import ApiToken, User
from backend.catalogue.integrity import quick_check
from backend.core.errors import UserError
from backend.jobs.overview import cancel_for_all, put_back

router = APIRouter(dependencies=[Depends(require(Role.ADMIN))])
Done = Annotated[DoneParameters, Depends(parameters_of(DoneParameters))]
TrailAsked = Annotated[TrailParameters, Depends(parameters_of(TrailParameters))]
TrailListed = Annotated[TrailFilter, Depends(parameters_of(TrailFilter))]


@router.get("/admin.json")
def home_json(session: ReadSession) -> dict[str, Any]:
    return views.home_json(views.build_home(session))


@router.get("/admin")
def home(request: Request, session: ReadSession) -> Response:
    return render(request, "admin/home.html", {"page": views.build_home(session)}, headers=NO_STORE)


@router.get("/admin/users.json")
def users_json(session: ReadSession) -> dict[str, Any]:
    found = views.build_users(session).users
    return {"items": [views.user_json(user) for user in found], "next": None, "total": len(found)}


@router.get("/admin/users")
def users_page(request: Request, session: ReadSession, asked: Done) -> Response:
    return _users(request, views.build_users(session, done=asked.done))


@router.post("/admin/users")
def add_user(request: Request, form: Form) -> Response:
    """Add a user; the answer shows their first password, this once."""
    name, role = readable(form.one("name")), form.one("role")
    password = views.new_password()
    try:
        if role not in ORDER:
            raise UserError("There is no such role.", "Choose one that the form offers.")
        with writing(request, shown=False) as session:
            user = users.add_user(session, actor_of(request), name, Role(role), password)
            secret = (user.name, password)
    except UserError as error:
        with catalogue_of(request).read() as session:
            return _users(request, views.build_users(session, typed=name[:100], fault=str(error)), 422)
    with catalogue_of(request).read() as session:
        return _users(request, views.build_users(session, secret=secret))


@router.post("/admin/users/{name}/reset")
def reset(request: Request, name: str) -> Response:
    """Give a user a new password, shown this once; sessions end and tokens are revoked."""
    password = views.new_password()
    with writing(request, shown=False) as session:
        users.set_password(session, actor_of(request), _user(session, name), password)
    with catalogue_of(request).read() as session:
        return _users(request, views.build_users(session, secret=(users.normalised(name), password)))


@router.post("/admin/users/{name}/role")
def change_role(request: Request, name: str, form: Form) -> Response:
    role = form.one("role")
    if role not in ORDER:
        raise Problem(422, "No such role", f"A role is one of {', '.join(ORDER)}.", link=("/admin/users", "All users"))
    return _change_user(
        request, name, lambda session, actor, user: users.set_role(session, actor, user, Role(role)), "role"
    )


@router.post("/admin/users/{name}/disable")
def disable(request: Request, name: str) -> Response:
    return _change_user(request, name, users.disable, "disabled")


@router.post("/admin/users/{name}/enable")
def enable(request: Request, name: str) -> Response:
    return _change_user(request, name, users.enable, "enabled")


@router.get("/admin/tokens.json")
def tokens_json(session: ReadSession) -> dict[str, Any]:
    rows = views.build_tokens(session).rows
    return {"items": [token_json(row) for row in rows], "next": None, "total": len(rows)}


@router.get("/admin/tokens")
def tokens(request: Request, session: ReadSession, asked: Done) -> Response:
    page = views.build_tokens(session, asked.done)
    return render(request, "admin/tokens.html", {"page": page}, headers=NO_STORE)


@router.post("/admin/tokens/{token_id}/revoke")
def revoke(request: Request, token_id: str) -> Response:
    with writing(request, shown=False) as session:
        token = session.get(ApiToken, token_id)
        if token is None:
            raise not_found("There is no such token.", ("/admin/tokens", "All tokens"))
        revoke_token(session, actor_of(request), token)
    return _back("/admin/tokens", "revoked")


@router.get("/admin/jobs.json")
def jobs_json(session: ReadSession) -> dict[str, Any]:
    return views.jobs_json(views.build_jobs(session))


@router.get("/admin/jobs")
def jobs(request: Request, session: ReadSession, asked: Done) -> Response:
    page = views.build_jobs(session, asked.done)
    return render(request, "admin/jobs.html", {"page": page}, headers=NO_STORE)


@router.post("/admin/jobs/{job_id}/put-back")
def put_job_back(request: Request, job_id: str) -> Response:
    return _change_job(request, job_id, put_back, "put-back")


@router.post("/admin/jobs/{job_id}/cancel")
def cancel_job(request: Request, job_id: str) -> Response:
    return _change_job(request, job_id, cancel_for_all, "cancelled")


@router.get("/admin/audit.json")
def trail_json(session: ReadSession, asked: TrailAsked) -> dict[str, Any]:
    page = views.build_trail(session, asked, "/admin/audit.json")
    return {"items": [views.event_row(event) for event in page.events], "next": page.earlier, "total": None}


@router.get("/admin/audit.csv")
def trail_csv(request: Request, asked: TrailListed) -> Response:
    return _export(request, asked, "csv")


@router.get("/admin/audit.jsonl")
def trail_jsonl(request: Request, asked: TrailListed) -> Response:
    return _export(request, asked, "jsonl")


@router.get("/admin/audit")
def trail(request: Request, session: ReadSession, asked: TrailAsked) -> Response:
    return render(request, "admin/audit.html", {"page": views.build_trail(session, asked)}, headers=NO_STORE)


@router.get("/admin/check.json")
def check_json(session: ReadSession) -> dict[str, Any]:
    found = quick_check(session)
    return {"whole": not found, "found": found}


@router.get("/admin/check")
def check(request: Request, session: ReadSession) -> Response:
    return render(request, "admin/check.html", {"found": quick_check(session)}, headers=NO_STORE)


def _users(request: Request, page: views.UsersPage, status: int = 200) -> Response:
    return render(request, "admin/users.html", {"page": page}, status=status, headers=NO_STORE)


def _change_user(request: Request, name: str, change: Callable[[Session, Actor, User], None], done: str) -> Response:
    try:
        with writing(request, shown=False) as session:
            change(session, actor_of(request), _user(session, name))
    except UserError as error:
        raise Problem(409, "Not done", str(error), link=("/admin/users", "All users")) from error
    return _back("/admin/users", done)


def _user(session: Session, name: str) -> User:
    try:
        return users.find_user(session, name)
    except UserError as error:
        raise not_found(f"There is no user “{name[:60]}”.", ("/admin/users", "All users")) from error


def _change_job(request: Request, job_id: str, change: Callable[[Session, str], bool], done: str) -> Response:
    with writing(request, shown=False) as session:
        if not change(session, job_id):
            raise Problem(409, "Not done", "The job is not in a state for this.", link=("/admin/jobs", "The queue"))
        note(session, actor_of(request), f"job.{done}", job_id)
    return _back("/admin/jobs", done)


def _export(request: Request, asked: TrailFilter, kind: Format) -> Response:
    def rows() -> Iterator[dict[str, Any]]:
        with read_while_streaming(request) as session:
            yield from views.trail_rows(session, asked, as_text=kind == "csv")

    return export(rows(), views.TRAIL_COLUMNS, "audit", kind)


def _back(path: str, done: str) -> Response:
    return RedirectResponse(address(path, {"done": done}), 303, headers=NO_STORE)
