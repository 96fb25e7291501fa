"""Roles, each of which may do what those before it may."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a user is here."""

    READER = "reader"
    ANNOTATOR = "annotator"
    CURATOR = "curator"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """True if this role may do what ``needed`` may."""
        return ORDER.index(self) >= ORDER.index(needed)


ORDER = tuple(Role)
"""From the least to the most."""


def lesser(one: Role, other: Role) -> Role:
    """The one of two roles that may do less."""
    return one if other.may(one) else other
