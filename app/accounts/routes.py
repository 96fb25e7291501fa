"""Addresses of signing in and out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from app.accounts.signing import WRONG, sign_in, sign_out
from app.http.errors import FieldError, Problem
from app.http.formats import local_path, wants_json
from app.http.forms import Form, readable
from app.http.headers import NO_STORE
from app.http.rendering import render
from app.http.viewers import viewer_of

router = APIRouter()


@router.get("/sign-in")
def sign_in_page(request: Request, next: str = "/") -> Response:
    if viewer_of(request.scope).signed_in:
        return RedirectResponse(local_path(next), 303, headers=NO_STORE)
    return _form(request, local_path(next), "")


@router.post("/sign-in")
def sign_in_here(request: Request, form: Form) -> Response:
    response = sign_in(request, form)
    if response is not None:
        return response
    if wants_json(request):
        raise Problem(401, "Not signed in", WRONG, (FieldError("name", WRONG),), headers=NO_STORE)
    return _form(request, local_path(form.one("next", "/")), form.one("name"), 401)


@router.post("/sign-out")
def sign_out_here(request: Request) -> Response:
    return sign_out(request)


def _form(request: Request, leads_to: str, name: str, status: int = 200) -> Response:
    context = {"leads_to": leads_to, "name": readable(name)[:100], "wrong": WRONG if status == 401 else None}
    return render(request, "accounts/sign_in.html", context, status=status, headers=NO_STORE)
