"""How a request shows who it comes from: a session's cookie or an API token, of which only hashes are stored."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from backend.accounts.audit import Actor, note
from backend.accounts.roles import Role, lesser
from backend.catalogue.account_models import ApiToken, User, UserSession
from backend.core.errors import UserError

LONGEST_AGENT = 200
LONGEST_NAME = 80
MOST_SESSIONS = 50
"""Of one user; the one that was not seen for the longest time goes."""

TOKEN_PREFIX = "ppt_"  # noqa: S105  by which people and scanners know one of our tokens
SEEN_EVERY = timedelta(hours=1)
LONGEST_TOKEN_DAYS = 366


@dataclass(frozen=True, slots=True)
class Access:
    """Who a request comes from, and by what."""

    user_id: int
    name: str
    role: Role
    """What the request may do: the user's role, or a token's scope below it."""
    session_id: str | None = None
    token_id: str | None = None
    noted: bool = True
    """False where it should be noted that the session or token was used now."""


def hash_of(secret: str) -> str:
    """What is stored of a secret: its SHA-256. The secrets are random, so that nothing slower is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def begin_session(session: Session, user: User, agent: str, days: int) -> str:
    """Sign a browser in for some days; returns the cookie's secret."""
    now, secret = datetime.now(UTC), secrets.token_urlsafe(32)
    session.execute(delete(UserSession).where(UserSession.expires_at <= now))
    kept = select(UserSession.id).where(UserSession.user_id == user.id).order_by(UserSession.seen_at.desc())
    surplus = list(session.scalars(kept.offset(MOST_SESSIONS - 1)))
    session.execute(delete(UserSession).where(UserSession.id.in_(surplus)))
    session.add(
        UserSession(
            id=hash_of(secret),
            user_id=user.id,
            created_at=now,
            seen_at=now,
            expires_at=now + timedelta(days=days),
            agent="".join(c for c in agent if c.isprintable())[:LONGEST_AGENT],
        )
    )
    return secret


def access_by_session(session: Session, secret: str) -> Access | None:
    """Who the cookie's secret belongs to; None where it has run out, was revoked, or its user is disabled."""
    now = datetime.now(UTC)
    statement = (
        select(UserSession, User)
        .join(User, User.id == UserSession.user_id)
        .where(UserSession.id == hash_of(secret), UserSession.expires_at > now, User.disabled_at.is_(None))
    )
    found = session.execute(statement).one_or_none()
    if found is None:
        return None
    browser, user = found
    return Access(user.id, user.name, Role(user.role), session_id=browser.id, noted=now - browser.seen_at < SEEN_EVERY)


def access_by_token(session: Session, secret: str) -> Access | None:
    """Who an API token acts for; None where it has run out, was revoked, or its user is disabled."""
    now = datetime.now(UTC)
    statement = (
        select(ApiToken, User)
        .join(User, User.id == ApiToken.user_id)
        .where(
            ApiToken.secret_hash == hash_of(secret),
            ApiToken.expires_at > now,
            ApiToken.revoked_at.is_(None),
            User.disabled_at.is_(None),
        )
    )
    found = session.execute(statement).one_or_none()
    if found is None:
        return None
    token, user = found
    role = lesser(Role(user.role), Role(token.scope))
    used_lately = token.used_at is not None and now - token.used_at < SEEN_EVERY
    return Access(user.id, user.name, role, token_id=token.id, noted=used_lately)


def role_now(session: Session, access: Access) -> Role | None:
    """What somebody who was let in may do by now, in a write transaction; None where their access has ended since.

    It stays so until the transaction ends: whoever disables them meanwhile waits.
    """
    now = datetime.now(UTC)
    if access.session_id is not None:
        by = select(User, UserSession.id).join(UserSession, UserSession.user_id == User.id)
        by = by.where(UserSession.id == access.session_id, UserSession.expires_at > now)
    else:
        by = select(User, ApiToken.scope).join(ApiToken, ApiToken.user_id == User.id)
        by = by.where(ApiToken.id == access.token_id, ApiToken.expires_at > now, ApiToken.revoked_at.is_(None))
    by = by.where(User.id == access.user_id, User.disabled_at.is_(None)).with_for_update(read=True)
    found = session.execute(by.execution_options(populate_existing=True)).one_or_none()
    if found is None:
        return None
    role = Role(found[0].role)
    return role if access.session_id is not None else lesser(role, Role(found[1]))


def note_use(session: Session, access: Access) -> None:
    """Remember that a session or a token is in use."""
    now = datetime.now(UTC)
    session.execute(update(UserSession).where(UserSession.id == access.session_id).values(seen_at=now))
    session.execute(update(ApiToken).where(ApiToken.id == access.token_id).values(used_at=now))


def make_token(session: Session, actor: Actor, user: User, name: str, scope: Role, days: int) -> tuple[ApiToken, str]:
    """Give a user a token; returns it and its secret, which is shown this once. Raises UserError."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError(f"A token has a name of 1 to {LONGEST_NAME} characters.", "Say what it is for.")
    if not Role(user.role).may(scope):
        raise UserError(f"{user.name} is {user.role} and cannot give a token more.", "Choose a smaller scope.")
    if not 1 <= days <= LONGEST_TOKEN_DAYS:
        raise UserError(f"A token lasts 1 to {LONGEST_TOKEN_DAYS} days.", "Choose a number of days between.")
    now, secret = datetime.now(UTC), TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        id=secrets.token_hex(5),
        secret_hash=hash_of(secret),
        user_id=user.id,
        name=name,
        scope=scope.value,
        created_at=now,
        expires_at=now + timedelta(days=days),
        used_at=None,
        revoked_at=None,
    )
    session.add(token)
    note(session, actor, "token.add", token.id, user=user.name, name=name, scope=scope.value, days=days)
    return token, secret


def revoke_token(session: Session, actor: Actor, token: ApiToken) -> None:
    """Make a token worthless."""
    token.revoked_at = token.revoked_at or datetime.now(UTC)
    note(session, actor, "token.revoke", token.id)


def end_session(session: Session, actor: Actor, browser: UserSession) -> None:
    """Sign a browser out."""
    session.delete(browser)
    note(session, actor, "sign-out", actor.name)


def end_other_sessions(session: Session, actor: Actor, user_id: int, kept: str | None) -> None:
    """Sign a user out in all browsers but one."""
    session.execute(delete(UserSession).where(UserSession.user_id == user_id, UserSession.id != (kept or "")))
    note(session, actor, "sign-out.others", actor.name)


def sessions_of(session: Session, user_id: int) -> list[UserSession]:
    """Where a user is signed in, the last seen first."""
    wanted = select(UserSession).where(UserSession.user_id == user_id, UserSession.expires_at > datetime.now(UTC))
    return list(session.scalars(wanted.order_by(UserSession.seen_at.desc(), UserSession.id)))


def tokens_of(session: Session, user_id: int | None = None) -> list[tuple[ApiToken, str]]:
    """Tokens with their users' names, of a user or of all: those that work first, then the newest."""
    works = (ApiToken.revoked_at.is_(None)) & (ApiToken.expires_at > datetime.now(UTC))
    wanted = select(ApiToken, User.name).join(User, User.id == ApiToken.user_id)
    if user_id is not None:
        wanted = wanted.where(ApiToken.user_id == user_id)
    rows = session.execute(wanted.order_by(works.desc(), ApiToken.created_at.desc(), ApiToken.id))
    return [(token, name) for token, name in rows]


def short_id(browser: UserSession) -> str:
    """What a session is called in forms and addresses: of its id, which is a hash, not enough to go on with."""
    return browser.id[:16]
