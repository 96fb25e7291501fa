"""Users: adding, disabling, resetting. Each takes a session in a write transaction and notes what it did."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from backend.accounts.audit import Actor, note
from backend.accounts.passwords import hash_password
from backend.accounts.roles import Role
from backend.catalogue.account_models import ApiToken, User, UserSession
from backend.core.errors import UserError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")


def normalised(name: str) -> str:
    """A name as it is stored."""
    return name.strip().lower()


def add_user(session: Session, actor: Actor, name: str, role: Role, password: str | None) -> User:
    """Add a user; without a password they cannot sign in until it is reset. Raises UserError."""
    name = normalised(name)
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name[:60]!r} is no name for a user.",
            "Names have 2 to 40 of a-z, 0-9, dot, dash and underscore, and begin with a letter or digit.",
        )
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise UserError(f"There is a user {name!r} already.", "Choose another name, or reset that user's password.")
    hashed = None if password is None else hash_password(password)
    user = User(name=name, role=role.value, password_hash=hashed, created_at=datetime.now(UTC), disabled_at=None)
    session.add(user)
    session.flush()
    note(session, actor, "user.add", name, role=role.value)
    return user


def find_user(session: Session, name: str) -> User:
    """The user of a name; raises UserError."""
    user = session.scalar(select(User).where(User.name == normalised(name)))
    if user is None:
        raise UserError(f"There is no user {normalised(name)[:60]!r}.", "`proponent users list` names them.")
    return user


def all_users(session: Session) -> list[User]:
    """Every user, by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def set_password(session: Session, actor: Actor, user: User, password: str) -> None:
    """Set a password, sign the user out everywhere and revoke their tokens."""
    user.password_hash = hash_password(password)
    _end_access(session, user)
    note(session, actor, "user.password", user.name)


def set_role(session: Session, actor: Actor, user: User, role: Role) -> None:
    """Give a user another role; sessions go on in it, and tokens do no more than it may. Raises UserError."""
    if role is not Role.ADMIN:
        _keep_an_admin(session, user)
    user.role = role.value
    note(session, actor, "user.role", user.name, role=role.value)


def change_password(session: Session, actor: Actor, user: User, password_hash: str, kept: str | None) -> None:
    """Set one's own password: all other sessions end, and tokens stay."""
    user.password_hash = password_hash
    session.execute(delete(UserSession).where(UserSession.user_id == user.id, UserSession.id != (kept or "")))
    note(session, actor, "user.password", user.name)


def disable(session: Session, actor: Actor, user: User) -> None:
    """Let a user in no more: their sessions end, their tokens are revoked. What they wrote stays."""
    _keep_an_admin(session, user)
    user.disabled_at = user.disabled_at or datetime.now(UTC)
    _end_access(session, user)
    note(session, actor, "user.disable", user.name)


def enable(session: Session, actor: Actor, user: User) -> None:
    """Let a disabled user in again."""
    user.disabled_at = None
    note(session, actor, "user.enable", user.name)


def _end_access(session: Session, user: User) -> None:
    """End all sessions of a user and revoke all their tokens."""
    session.execute(delete(UserSession).where(UserSession.user_id == user.id))
    standing = update(ApiToken).where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None))
    session.execute(standing.values(revoked_at=datetime.now(UTC)))


def _keep_an_admin(session: Session, user: User) -> None:
    admins = select(User.id).where(User.role == Role.ADMIN.value, User.disabled_at.is_(None)).with_for_update()
    if set(session.scalars(admins)) == {user.id}:
        raise UserError(f"{user.name} is the only admin.", "Make somebody else admin first.")
