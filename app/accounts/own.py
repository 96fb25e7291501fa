"""One's own account: where one is signed in, tokens, the password."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from app.http.viewers import Viewer
from backend.accounts.access import LONGEST_TOKEN_DAYS, sessions_of, short_id, tokens_of
from backend.accounts.roles import ORDER, Role
from backend.catalogue.account_models import ApiToken, UserSession

DAYS = 90
"""Of a token, unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A browser that is signed in."""

    id: str
    """Short: not the cookie's secret, and not enough of its hash."""
    browser: UserSession
    this_one: bool


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token, without its secret."""

    token: ApiToken
    owner: str
    works: bool


@dataclass(frozen=True, slots=True)
class AccountPage:
    """The page of one's own account."""

    name: str
    role: str
    sessions: list[SessionRow]
    tokens: list[TokenRow]
    scopes: list[str]
    """The roles that a new token can have."""
    days: int = DAYS
    most_days: int = LONGEST_TOKEN_DAYS
    secret: str | None = None
    """Of a token that was made just now; shown this once."""
    faults: dict[str, str] = field(default_factory=dict)
    done: str = ""
    """What was done just now, in words."""


DONE = {
    "password": "Your password is changed, and every other browser is signed out.",
    "session": "That browser is signed out.",
    "others": "All other browsers are signed out.",
    "token": "That token is worthless now.",
}


def token_row(token: ApiToken, owner: str) -> TokenRow:
    """A token as pages show it."""
    return TokenRow(token, owner, token.revoked_at is None and token.expires_at > datetime.now(UTC))


def build_account(
    session: Session, viewer: Viewer, *, done: str = "", secret: str | None = None, faults: dict[str, str] | None = None
) -> AccountPage:
    """The page for who looks at it."""
    assert viewer.user_id is not None
    role = Role(viewer.role)
    return AccountPage(
        name=viewer.name,
        role=role.value,
        sessions=[
            SessionRow(short_id(browser), browser, browser.id == viewer.session_id)
            for browser in sessions_of(session, viewer.user_id)
        ],
        tokens=[token_row(token, owner) for token, owner in tokens_of(session, viewer.user_id)],
        scopes=[one.value for one in ORDER if role.may(one)],
        secret=secret,
        faults=faults or {},
        done=DONE.get(done, ""),
    )


def account_json(page: AccountPage) -> dict[str, Any]:
    """The JSON twin."""
    return {
        "name": page.name,
        "role": page.role,
        "sessions": [
            {
                "id": row.id,
                "agent": row.browser.agent,
                "created_at": row.browser.created_at.isoformat(),
                "seen_at": row.browser.seen_at.isoformat(),
                "expires_at": row.browser.expires_at.isoformat(),
                "this_one": row.this_one,
            }
            for row in page.sessions
        ],
        "tokens": [token_json(row) for row in page.tokens],
    }


def token_json(row: TokenRow) -> dict[str, Any]:
    """A token without its secret."""
    token = row.token
    return {
        "id": token.id,
        "user": row.owner,
        "name": token.name,
        "scope": token.scope,
        "works": row.works,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at.isoformat(),
        "used_at": token.used_at.isoformat() if token.used_at else None,
        "revoked_at": token.revoked_at.isoformat() if token.revoked_at else None,
    }
