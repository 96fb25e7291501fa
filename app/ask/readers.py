"""Who asks: the user, or a reader without an account by a random cookie, set with the first question.

Only a hash of the cookie is stored. What somebody asked before they signed in stays with the cookie.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from app.http.cookies import YEAR, read_cookie, set_cookie
from app.http.viewers import viewer_of

COOKIE = "reader"
WELL_FORMED = re.compile(r"[A-Za-z0-9_-]{32,64}")


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks."""

    secret: str
    known: bool
    """Whether their browser has the cookie already."""

    @property
    def hash(self) -> str:
        """What is stored of them."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    @property
    def turn(self) -> str:
        """Whom the queue counts their questions for."""
        return f"reader:{self.hash}"


def reader_of(request: Request) -> Reader | None:
    """The user, or the reader whose cookie a request carries."""
    viewer = viewer_of(request.scope)
    if viewer.signed_in:
        return Reader(f"user {viewer.user_id}", known=True)  # no cookie is like this
    secret = read_cookie(request, COOKIE) or ""
    return Reader(secret, known=True) if WELL_FORMED.fullmatch(secret) else None


def reader_hash(request: Request) -> str | None:
    """What is stored of the reader whose cookie a request carries."""
    reader = reader_of(request)
    return None if reader is None else reader.hash


def reader_or_new(request: Request) -> Reader:
    """The reader, or a new one, to whom ``remember`` gives a cookie."""
    return reader_of(request) or Reader(secrets.token_urlsafe(32), known=False)


def remember(request: Request, response: Response, reader: Reader) -> None:
    """Set the cookie of a reader whose browser does not have it yet."""
    if not reader.known:
        set_cookie(request, response, COOKIE, reader.secret, YEAR)
