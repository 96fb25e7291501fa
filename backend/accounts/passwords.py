"""Passwords: Argon2id, in the amounts of RFC 9106's second recommended option, which argon2-cffi uses by itself."""

from __future__ import annotations

import secrets
from functools import lru_cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from backend.core.errors import UserError

SHORTEST, LONGEST = 10, 200
AT_A_TIME = 2
"""Hashes that one process works out at a time: each takes 64 MiB and tens of milliseconds."""

_hasher = PasswordHasher()
_turns = BoundedSemaphore(AT_A_TIME)


def check_password(password: str) -> None:
    """Raise UserError for one that is too short, too long or cannot be typed again."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise UserError(f"A password has {SHORTEST} to {LONGEST} characters.", "Three or four words make a good one.")
    if not password.isprintable():
        raise UserError("A password has no control characters.", "Type it again.")


def hash_password(password: str) -> str:
    """The hash to store."""
    check_password(password)
    with _turns:
        return _hasher.hash(password)


def is_right(password: str, password_hash: str | None) -> bool:
    """True for the right password; takes as long where there is no hash (nobody of that name) as where it is wrong."""
    if len(password) > LONGEST:
        return False
    with _turns:
        try:
            _hasher.verify(password_hash or _nobodys_hash(), password)
        except (VerificationError, InvalidHashError, UnicodeError):
            return False
    return password_hash is not None


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _hasher.hash(secrets.token_hex())
